-- The database `lake` is made by the image; Dagster and MLflow have their own, so that each can be restored alone.
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
