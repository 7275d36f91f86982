"""MLflow's deployment client, for the endpoints of a project::

    from mlflow.deployments import get_deploy_client

    client = get_deploy_client("headrace")             # the project of this directory
    client.create_endpoint("device-failure", {"model": "device_failure@production"})
    client.create_deployment("blue", "models:/device_failure/1", endpoint="device-failure")
    client.predict(endpoint="device-failure", inputs=frame).get_predictions()

MLflow finds ``plugin`` through the entry point ``mlflow.deployments``.
"""
