/// Deletion vectors: which rows of a data file are gone. Spec: Delta PROTOCOL.md, "Deletion Vectors".
#pragma once

#include <arrow/buffer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "delta/log/actions.h"
#include "objectstore/object_store.h"

namespace millrace::delta {

/// A bitmap of `num_rows` bits, 1 for each row that is still there. Errors name the vector: kNotFound, kCorrupt (its
/// bytes, checksum or cardinality are wrong, or it deletes a row that the file does not have), kUnsupported (it lies
/// outside of the table).
Result<std::shared_ptr<arrow::Buffer>> ReadLiveRows(objectstore::ObjectStore& store,
                                                    const DeletionVectorDescriptor& descriptor, std::int64_t num_rows);

/// The key of the file that holds the vector in the table's store, as DecodePath(); "" if it is stored inline.
Result<std::string> DeletionVectorKey(const DeletionVectorDescriptor& descriptor,
                                      const objectstore::ObjectStore& store);

/// ZeroMQ's base 85 (RFC 32/Z85). kCorrupt: a length that is not a multiple of 5, or a character outside of it.
Result<std::string> DecodeZ85(std::string_view text);

/// Clears the bit of each position in a serialized vector (magic number and 64-bit portable Roaring bitmap) and returns
/// how many those were. `live`: `num_rows` bits, all set. kCorrupt as above; never reads beyond `bytes`.
Result<std::int64_t> ClearDeleted(std::string_view bytes, std::uint8_t* live, std::int64_t num_rows);

}  // namespace millrace::delta
