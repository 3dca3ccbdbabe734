/// Ranged reads of one object of a bucket.
#pragma once

#include <memory>
#include <string>

#include "objectstore/object_store.h"

namespace millrace::objectstore::s3 {

class S3Client;

/// One request, which brings the object's size and its last 64 KiB: for most Parquet files the whole footer. kNotFound
/// if there is no such object. Reads are any thread's; an object replaced meanwhile is kTransient. `client` must
/// outlive the file; `owner` keeps it.
Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenS3File(S3Client& client, const std::string& key,
                                                                std::shared_ptr<const void> owner);

}  // namespace millrace::objectstore::s3
