import importlib.util

for package in ("soundfile", "torchaudio"):
    if importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(
            f"Audio needs the package {package}, which is not installed: pip install -e '.[audio]'.", name=package
        )
