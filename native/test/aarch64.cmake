# Toolchain of the ARM tests on another machine: Debian's cross compiler, and an emulator of the processor (no system) to
# run what it makes. Static, so that no ARM libraries are looked for at run time.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)
