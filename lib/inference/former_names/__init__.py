"""Keep the import names that registered models use: `lib.forecaster` and `lib.panel`.

Versions registered before the modules moved into packages import these two. Where such a version
is loaded beside this package (`mlflow.pyfunc.load_model`), its imports resolve here, because
`lib.__path__` ends with this folder. Later versions bring their code under another name.
"""
