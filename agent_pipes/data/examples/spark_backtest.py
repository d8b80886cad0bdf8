"""Judge recorded sessions on Spark: spark-submit spark_backtest.py PATH... > results.ndjson."""

import os
import sys

from pyspark.sql import SparkSession

from agent_pipes.commands.backtest import read_limits, result_events, sessions_in
from agent_pipes.detect.backtest import judge_session

context = SparkSession.builder.appName("agent-pipes").getOrCreate().sparkContext
sessions, limits = sessions_in(map(os.path.abspath, sys.argv[1:])), read_limits()
judged = context.parallelize(sessions, len(sessions)).map(lambda each: judge_session(each, limits))
sys.stdout.buffer.writelines(event.raw for event in result_events(judged.collect()))
