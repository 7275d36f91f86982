-- Events of the machines we have telemetry of, one row for each machine and hour.

CREATE TEMPORARY VIEW error_counts AS
SELECT
  machineID,
  datetime,
  sum(CASE WHEN errorID = 'error1' THEN 1 ELSE 0 END) AS error1,
  sum(CASE WHEN errorID = 'error2' THEN 1 ELSE 0 END) AS error2,
  sum(CASE WHEN errorID = 'error3' THEN 1 ELSE 0 END) AS error3,
  sum(CASE WHEN errorID = 'error4' THEN 1 ELSE 0 END) AS error4,
  sum(CASE WHEN errorID = 'error5' THEN 1 ELSE 0 END) AS error5
FROM bronze.errors
GROUP BY machineID, datetime;

-- The last replacement of each component at each hour of telemetry, never a later one.
CREATE TEMPORARY VIEW last_replacements AS
SELECT
  t.machineID,
  t.datetime,
  max(CASE WHEN m.comp = 'comp1' THEN m.datetime END) AS comp1,
  max(CASE WHEN m.comp = 'comp2' THEN m.datetime END) AS comp2,
  max(CASE WHEN m.comp = 'comp3' THEN m.datetime END) AS comp3,
  max(CASE WHEN m.comp = 'comp4' THEN m.datetime END) AS comp4
FROM bronze.telemetry AS t
JOIN bronze.maintenance AS m ON m.machineID = t.machineID AND m.datetime <= t.datetime
GROUP BY t.machineID, t.datetime;

-- The hours before a failure: the failure is later than the hour, by 24 hours at most.
CREATE TEMPORARY VIEW hours_before_failure AS
SELECT DISTINCT t.machineID, t.datetime
FROM bronze.telemetry AS t
JOIN bronze.failures AS f
  ON f.machineID = t.machineID
  AND f.datetime > t.datetime
  AND f.datetime <= t.datetime + INTERVAL 24 HOURS;
