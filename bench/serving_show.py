"""The tables of ``make bench-serving``."""

from __future__ import annotations

from typing import Any

CLOSED = "closed loop, "
OPEN = "open loop, "


def report(problems: dict[tuple[str, str], str], command: str) -> list[dict[str, Any]]:
    """Rows of the systems that could not be measured: no value, and why."""
    return [
        {"work": f"{model}: not measured", "system": system, "value": None, "unit": "",
         "ratio": None, "command": command, "why": why}
        for (system, model), why in problems.items()
    ]  # fmt: skip


def tables(
    results: list[dict[str, Any]], problems: dict[tuple[str, str], str], settings: dict[str, str]
) -> None:
    """Print what was measured: three tables a model."""
    from headrace.cli.output import table

    found = {(*r["work"].split(": "), r["system"]): r["value"] for r in results}
    for model in dict.fromkeys(key[0] for key in found):
        names = [name for name in settings if (model, "start", "first answer", name) in found]
        works = list(dict.fromkeys(key[1] for key in found if key[0] == model))

        def value(work: str, figure: str, name: str, model: str = model) -> float | None:
            return found.get((model, work, figure, name))

        table(
            f"{model}: single rows, closed loop (ratio: Headrace's answers over the system's)",
            ["connections", "system", "answers/s", "ratio", "p50 ms", "p99 ms", "p99.9 ms",
             "errors"],
            [
                (work.removeprefix(CLOSED).split()[0], name, _text(value(work, "answers", name)),
                 _ratio(value(work, "answers", "headrace"), value(work, "answers", name)),
                 *(_text(value(work, f, name)) for f in ("p50", "p99", "p999", "errors")))
                for work in works if work.startswith(CLOSED) for name in names
            ],
            right="connections,answers/s,ratio,p50 ms,p99 ms,p99.9 ms,errors",
        )  # fmt: skip
        table(
            f"{model}: single rows, open loop (latency from the moment a request was due)",
            ["rate/s", "system", "p50 ms", "p99 ms", "p99.9 ms", "errors", "sent late ms"],
            [
                (work.removeprefix(OPEN).removesuffix("/s"), name,
                 *(_text(value(work, f, name))
                   for f in ("p50", "p99", "p999", "errors", "sent late, p99")))
                for work in works if work.startswith(OPEN) for name in names
                if value(work, "p50", name) is not None
            ],
            right="rate/s,p50 ms,p99 ms,p99.9 ms,errors,sent late ms",
        )  # fmt: skip
        sizes = [work for work in works if "rows a request" in work]
        table(
            f"{model}: rows/s by rows a request (4 connections); start and memory",
            ["system", *(_short(work) for work in sizes), "start s", "MiB"],
            [
                (name, *(_text(value(work, "rows", name)) for work in sizes),
                 _text(value("start", "first answer", name)),
                 _text(value("after the load", "memory", name)))
                for name in names
            ],
            right=",".join([*(_short(work) for work in sizes), "start s", "MiB"]),
        )  # fmt: skip
    table("How each is set up", ["system", "settings"], settings.items())
    if problems:
        table(
            "Not measured",
            ["system", "model", "why"],
            [(system, model, why) for (system, model), why in problems.items()],
        )


def _short(work: str) -> str:
    rows, kind = work.split(" rows a request, ")
    return f"{kind} {rows}"


def _ratio(ours: float | None, theirs: float | None) -> str:
    return f"{ours / theirs:.2f}" if ours and theirs else ""


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
