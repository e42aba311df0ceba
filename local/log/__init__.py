"""The log: topics of partitions of records, read by groups that commit offsets. One port, one module an engine."""
