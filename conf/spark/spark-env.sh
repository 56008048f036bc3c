# Copied into the installed pyspark by set-up; spark-submit and pyspark read it before they start the JVM.

# The interpreter beside this pyspark, not whatever python3 the PATH finds first.
nightmill_python="$(cd -P "${SPARK_HOME}" && cd ../../../.. && pwd)/bin/python"
[ -x "${nightmill_python}" ] && PYSPARK_PYTHON="${PYSPARK_PYTHON:-${nightmill_python}}"
# Without this check spark-class would fail on a missing or old Java in words of its own.
[ -x "${nightmill_python}" ] && { "${nightmill_python}" -m nightmill.java || exit $?; }
unset nightmill_python

# Spark opens an incubator module, the JVM warns of it before any logging exists, and no option silences it.
exec 2> >(trap '' INT; exec grep --line-buffered -v 'Using incubator modules: jdk.incubator.vector' >&2)
