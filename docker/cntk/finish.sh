# What is left to do after pip: CNTK is linked with OpenMPI 1.10; 3 and 4 will do, but their libraries have other names.
# Run where the image is built and by the virtualenv engine alike, by a POSIX sh. Given:
#   ENVIRONMENT  prefix of the environment; openmpi-compat in it, for LD_LIBRARY_PATH, is what this makes
# Ends with 69 where the machine lacks what only its own packages bring.
set -eu

# The path of a library: where the loader finds it, or else where Red Hat's OpenMPI lies, which is on no path.
library() {
    for found in $(PATH=$PATH:/usr/sbin:/sbin ldconfig -p | sed -n "s|.*x86-64.* => \(/.*/$1\)\$|\1|p") \
        "/usr/lib64/openmpi/lib/$1"; do
        if [ -e "$found" ]; then
            echo "$found"
            return
        fi
    done
    echo "CNTK needs $1 of OpenMPI 3 or 4, and this machine has none. Debian: apt install libopenmpi3" >&2
    exit 69
}

mpi=$(library libmpi.so.40)
mpi_cxx=$(library libmpi_cxx.so.40)
mkdir -p "$ENVIRONMENT/openmpi-compat"
ln -sf "$mpi" "$ENVIRONMENT/openmpi-compat/libmpi.so.12"
ln -sf "$mpi_cxx" "$ENVIRONMENT/openmpi-compat/libmpi_cxx.so.1"
