/// Which tables we read and which we write: versions and features by name. Spec: Delta PROTOCOL.md, "Protocol
/// Evolution" and "Table Features".
#pragma once

#include "base/status.h"
#include "delta/log/actions.h"

namespace millrace::delta {

/// kUnsupported names the version or feature.
Status CheckReadable(const Protocol& protocol, const Metadata& metadata);

/// kUnsupported names what stands against our appending to it, compacting it or writing its checkpoints. Assumes
/// CheckReadable() passed.
Status CheckWritable(const Protocol& protocol, const Metadata& metadata);

/// How the columns of the table's files are told apart. Spec: "Column Mapping".
enum class ColumnMapping {
  kNone,  ///< By their names.
  kName,  ///< By delta.columnMapping.physicalName.
  kId,  ///< By delta.columnMapping.id, which is the Parquet field id; statistics and partition values by physical name.
};
/// kUnsupported: a mode that we do not know.
Result<ColumnMapping> ColumnMappingOf(const Protocol& protocol, const Metadata& metadata);

/// delta.enableInCommitTimestamps: commitInfo holds the commit's time, strictly increasing.
bool UsesInCommitTimestamps(const Metadata& metadata);

/// delta.appendOnly: rows may be added, and files rewritten without a change of data.
bool IsAppendOnly(const Metadata& metadata);

/// What a new table with this schema needs: (1,2), or (3,7) with timestampNtz.
Protocol ProtocolFor(const arrow::Schema& schema);

}  // namespace millrace::delta
