"""Tables by hand: protocol 1/2, one commit, and files by pyarrow, which share no code with any writer of Delta tables."""

import json
import os
import time

import pyarrow
import pyarrow.parquet

OLD = time.time() - 30 * 86400  # Older than any retention that is not asked for.


def field(name, kind):
    return {"name": name, "type": kind, "nullable": True, "metadata": {}}


def map_of(key, value):
    return {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}


def rows(**columns):
    """Of Python values, or of pyarrow's arrays."""
    return pyarrow.table(columns)


class HandTable:
    """`fields`: name -> Delta's type. Then add() as often as wanted, and commit()."""

    def __init__(self, folder, fields, partition_by=(), properties=None):
        self.folder = folder
        schema = {"type": "struct", "fields": [field(name, kind) for name, kind in fields.items()]}
        self.actions = [{"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
                        {"metaData": {"id": "00000000-0000-4000-8000-000000000000", "format": {"provider": "parquet", "options": {}},
                                      "schemaString": json.dumps(schema), "partitionColumns": list(partition_by),
                                      "configuration": properties or {}, "createdTime": 0}}]
        (folder / "_delta_log").mkdir(parents=True)

    def add(self, key, table, path=None, values=None, stats=None):
        """A file `key` below the table, an old one, that the log calls `path`."""
        file = self.folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, file)
        os.utime(file, (OLD, OLD))
        add = {"path": path or key, "partitionValues": values or {}, "size": file.stat().st_size, "modificationTime": 0,
               "dataChange": True}
        self.actions.append({"add": {**add, **({"stats": json.dumps(stats)} if stats else {})}})
        return self

    def action(self, action):
        self.actions.append(action)
        return self

    def commit(self, before=b""):
        text = "".join(json.dumps(action) + "\n" for action in self.actions)
        (self.folder / "_delta_log" / f"{0:020}.json").write_bytes(before + text.encode())
        return self.folder
