"""The step of installing lstmjax that builds the library of its native backend, where that can be done.

The environment variable LSTMJAX_NATIVE=off leaves it out; LSTMJAX_NATIVE_TARGET=aarch64-linux-gnu, or another target of
`compile.py`, makes a wheel for such machines, or fails.
"""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "lstmjax/kernels/native"
HEADERS, ZIG = "jaxlib==0.8.1", "ziglang==0.17.1"
"""The oldest jaxlib that lstmjax runs on, as newer ones take what was made for it; a compiler where there is none."""


def load_compile(root: str) -> ModuleType:
    """The module `compile.py` by its path: lstmjax and what it needs are not there while it is installed."""
    spec = importlib.util.spec_from_file_location("lstmjax_native_compile", Path(root, FOLDER, "compile.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def against(builder: ModuleType, environ: Mapping[str, str]) -> str | None:
    """Why nothing is to be built at all, or None."""
    if environ.get("LSTMJAX_NATIVE") == "off":
        return "switched off by LSTMJAX_NATIVE=off"
    try:
        builder.source_digest(environ.get("LSTMJAX_NATIVE_TARGET") or builder.host())
    except builder.BuildError as error:
        return str(error)
    return None


def requirements(builder: ModuleType, environ: Mapping[str, str]) -> list[str]:
    """What has to be installed before: nothing where nothing will be built, and a compiler where there is none."""
    if against(builder, environ):
        return []
    if environ.get("LSTMJAX_NATIVE_TARGET"):
        return [HEADERS, ZIG]
    if builder.is_current():
        return []
    try:
        builder.find_compiler()
    except builder.BuildError:
        return [HEADERS, ZIG]
    return [HEADERS]


def local_platform() -> str:
    """What wheels call this machine, with the system it runs now: what was compiled on it may need no less."""
    if platform.system() == "Darwin":
        return f"macosx_{platform.mac_ver()[0].partition('.')[0]}_0_{platform.machine()}"
    return f"{platform.system()}_{platform.machine()}".lower()


class NativeLibrary(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the library and adds it to the wheel, whose tag then names the machines that it runs on."""

    def dependencies(self) -> list[str]:
        """What has to be installed before `initialize` is called."""
        return requirements(load_compile(self.root), os.environ)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, unless it can't be done or has been: into the source tree, or for another target beside it.

        Args:
          version: "standard", or "editable", for which it is enough that the library lies in the source tree.
          build_data: what goes into the wheel.

        Raises:
          BuildError: the library can't be built for the target asked for.
        """
        builder = load_compile(self.root)
        target = os.environ.get("LSTMJAX_NATIVE_TARGET")
        try:
            if reason := against(builder, os.environ):
                raise builder.BuildError(reason)
            library = self._for_target(builder, target) if target else self._for_here(builder)
        except (builder.BuildError, OSError) as error:
            if target:
                raise
            self.app.display_warning(f"lstmjax goes without its native backend: {error}")
            return
        if version == "standard":
            build_data["force_include"][str(library)] = f"{FOLDER}/{builder.LIBRARY.name}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{builder.TARGETS[target].wheel if target else local_platform()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Throw away what was built for another target; it is in the wheel."""
        shutil.rmtree(Path(self.directory, "native"), ignore_errors=True)

    def _for_here(self, builder: ModuleType) -> Path:
        return builder.LIBRARY if builder.is_current() else builder.compile_library()

    def _for_target(self, builder: ModuleType, target: str) -> Path:
        folder = Path(self.directory, "native")
        folder.mkdir(parents=True, exist_ok=True)
        return builder.compile_library(folder / builder.LIBRARY.name, target=target)
