CREATE MATERIALIZED VIEW silver.devices
COMMENT 'One row for each device, with its model written in one way'
AS SELECT
  device_id,
  upper(trim(model)) AS model,
  site,
  installed_on
FROM bronze.devices;
