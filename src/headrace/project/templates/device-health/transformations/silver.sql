CREATE MATERIALIZED VIEW silver.devices
COMMENT 'One row for each device, with its model written in one way'
AS SELECT
  device_id,
  upper(trim(model)) AS model,
  site,
  installed_on
FROM bronze.devices;

-- A reading that was sent twice is the same in every column. Firmware 2.1.0 reports Fahrenheit.
CREATE MATERIALIZED VIEW silver.telemetry
COMMENT 'Readings, each once, in Celsius'
AS SELECT DISTINCT
  device_id,
  time,
  CASE WHEN firmware = '2.1.0' THEN (temperature - 32) * 5 / 9 ELSE temperature END AS temperature,
  pressure,
  vibration,
  load
FROM bronze.telemetry;
