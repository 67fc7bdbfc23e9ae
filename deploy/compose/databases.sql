-- A database each: their tables are made by MLflow, Optuna and lib.store.
CREATE DATABASE mlflow;
CREATE DATABASE optuna;
CREATE DATABASE state;
