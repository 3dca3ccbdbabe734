/// Which tables we read and which we write: versions and features by name. Spec: Delta PROTOCOL.md, "Protocol
/// Evolution" and "Table Features".
#pragma once

#include "base/status.h"
#include "delta/actions.h"

namespace millrace::delta {

/// kUnsupported names the version or feature. Deletion vectors are accepted here: whether any is in use shows in the
/// files.
Status CheckReadable(const Protocol& protocol, const Metadata& metadata);

/// kUnsupported names what stands against our appending to it, compacting it or writing its checkpoints. Assumes
/// CheckReadable() passed.
Status CheckWritable(const Protocol& protocol, const Metadata& metadata);

/// delta.appendOnly: rows may be added, and files rewritten without a change of data.
bool IsAppendOnly(const Metadata& metadata);

/// What a new table with this schema needs: (1,2), or (3,7) with timestampNtz.
Protocol ProtocolFor(const arrow::Schema& schema);

}  // namespace millrace::delta
