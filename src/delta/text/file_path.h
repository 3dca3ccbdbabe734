/// Between keys of the object store and the `path` of add and remove actions. Spec: Delta PROTOCOL.md, "Add File and
/// Remove File": a URI reference, so URL-encoded, relative to the table's root or absolute.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "objectstore/object_store.h"

namespace millrace::delta {

/// URL-encodes a key once.
std::string EncodePath(const std::string& key);

/// "/data/x", "s3://bucket/x", "file:/data/x". A colon within a partition's folder ("a:b=1/x") is no scheme.
bool IsAbsolutePath(std::string_view path);

/// The key below the root of the table's store, however it is spelled: relative, with "." segments, or absolute, also
/// by way of links and under the other names of a bucket (ObjectStore::KeyOf()). Every key is below the table, so
/// nothing that a log says makes a reader read elsewhere. All verbs go by this one function. kUnsupported: an absolute
/// path to elsewhere; kCorrupt: it leads out of the table by "..", or is not URL-encoded text. Both name the file.
Result<std::string> DecodePath(const std::string& path, const objectstore::ObjectStore& store);

/// The same of a path that must be relative; an absolute one is kUnsupported.
Result<std::string> DecodeRelativePath(const std::string& path);

}  // namespace millrace::delta
