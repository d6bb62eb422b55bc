"""A torchaudio that cannot be loaded beside this torch breaks nothing: each case is a process of its own."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MARK = b"... libc10_cuda.so ..."
EXTENSION = """
from pathlib import Path
if list((Path(__file__).parent / "lib").glob("*.so")):
    raise OSError("libcudart.so.13: cannot open shared object file")
"""


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Packages torch (CPU) and torchaudio (CUDA), as far as the guard looks at them."""
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").touch()
    audio(tmp_path)
    return tmp_path


def audio(folder: Path) -> None:
    (folder / "torchaudio" / "lib").mkdir(parents=True)
    (folder / "torchaudio" / "__init__.py").write_text("from . import _extension\n__version__ = '2.11.0'\n")
    (folder / "torchaudio" / "_extension.py").write_text(EXTENSION)
    (folder / "torchaudio" / "lib" / "libtorchaudio.so").write_bytes(MARK)
    (folder / "torchaudio" / "lib" / "other.so").write_bytes(b"for any torch")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT)])
    command = [sys.executable, "-W", "error::RuntimeWarning", *arguments]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)


def test_importing_the_project_leaves_the_libraries_out(broken):
    done = run(broken, "-c", "import modalities, torchaudio; print(torchaudio._extension._IS_ALIGN_AVAILABLE)")
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
    twin = run(broken, "-c", "import torchaudio, modalities")
    assert twin.returncode == 1 and "OSError: libcudart" in twin.stderr


def test_nothing_is_left_out_beside_a_torch_with_the_same_cuda(broken):
    library = broken / "torchaudio" / "lib" / "libtorchaudio.so"
    code = "import modalities, sys; print('torchaudio._extension' in sys.modules)"
    for torch_asks, audio_asks, left_out in (
        ("", "", False),
        ("12", "12", False),
        ("12", "13", True),
        ("", "13", False),
    ):
        (broken / "torch" / "lib" / "libc10_cuda.so").write_text(torch_asks and f"... libcudart.so.{torch_asks} ...")
        library.write_bytes(MARK + (f" libcudart.so.{audio_asks}".encode() if audio_asks else b""))
        done = run(broken, "-c", code)
        assert done.stdout.strip() == str(left_out), done.stderr


def test_functions_of_the_libraries_say_why_they_are_refused(broken):
    code = "import modalities\nfrom torchaudio._extension import fail_if_no_align\n"
    done = run(broken, "-c", code + "@fail_if_no_align\ndef forced_align(): pass\nforced_align(1)")
    assert "torchaudio's forced_align needs a torchaudio that was built for this torch" in done.stderr


def test_the_command_fits_torchaudio_for_all_processes(broken):
    first, second = (run(broken, "-m", "modalities.fit_torchaudio") for _ in range(2))
    assert first.returncode == 0 and "Renamed 1 libraries" in first.stdout, first.stderr
    assert second.returncode == 0 and "Nothing to do" in second.stdout, second.stderr
    names = {path.name for path in (broken / "torchaudio" / "lib").iterdir()}
    assert names == {"libtorchaudio.so.needs-cuda", "other.so"}
    (broken / "torchaudio" / "lib" / "other.so").unlink()
    assert run(broken, "-c", "import torchaudio").returncode == 0


def test_no_torchaudio_is_no_trouble(broken):
    shutil.rmtree(broken / "torchaudio")
    (broken / "torchaudio.py").write_text("raise ImportError")  # in place of what the environment may have
    assert run(broken, "-c", "import modalities").returncode == 0


def test_what_scripts_import_before_the_guard_leaves_torchaudio_alone(tmp_path):
    """A recipe that is run as a script imports others before `modalities`; evaluation and trainers never import it."""
    audio(tmp_path)
    lines = dict.fromkeys(line for path in sorted((ROOT / "recipes").glob("*.py")) for line in before_the_guard(path))
    assert any("transformers" in line for line in lines)
    code = [*lines, "import sys", "assert 'modalities' not in sys.modules"]
    twin = "try:\n    from transformers import ProcessorMixin\nexcept OSError:\n    print('broken')"
    done = run(tmp_path, "-c", "\n".join([*code, twin]))
    assert (done.returncode, done.stdout.strip()) == (0, "broken"), done.stderr


def before_the_guard(path: Path) -> list[str]:
    """The imports of a script up to the first that reaches `modalities`."""
    text = path.read_text()
    found = []
    for node in ast.parse(text).body if "__main__" in text else []:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            if any(name.split(".")[0] in ("modalities", "recipes") for name in names):
                break
            found.append(ast.unparse(node))
    return found


@pytest.mark.slow
def test_every_recipe_can_be_imported(tmp_path):
    """The real torchaudio, with libraries that cannot be loaded."""
    here = importlib.util.find_spec("torchaudio")
    cuda = any((Path(str(importlib.util.find_spec("torch").origin)).parent / "lib").glob("*c10_cuda*"))
    if here is None or here.origin is None or cuda:
        pytest.skip("needs torchaudio beside a torch without CUDA")
    shutil.copytree(Path(here.origin).parent, tmp_path / "torchaudio", ignore=shutil.ignore_patterns("*.so*"))
    for name in ("libtorchaudio.so", "_torchaudio.so"):
        (tmp_path / "torchaudio" / "lib" / name).write_bytes(MARK)
    names = [f"recipes.{path.stem}" for path in sorted((ROOT / "recipes").glob("[!_]*.py"))]
    code = f"import importlib\nfor name in {names}:\n    importlib.import_module(name)\nimport evaluate, torchaudio"
    done = run(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    twin = run(tmp_path, "-c", "import evaluate")
    assert twin.returncode == 1 and "torchaudio" in twin.stderr
