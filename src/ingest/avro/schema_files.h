/// Avro schemas in files, by the fingerprint that single-object encoding puts before each record.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/status.h"
#include "ingest/writer_schemas.h"

namespace millrace::ingest {

/// Of one folder.
inline constexpr std::size_t kMaxSchemaFiles = 1000;

/// The text of the file at `path`. kNotFound: it cannot be read; kInvalidInput: it has more than kMaxSchemaBytes.
Result<std::string> ReadSchemaFile(const std::string& path);

/// The schema of the file at `path`, or those of all files in the folder. They are read once, now. kNotFound: there is
/// no such file or folder, or none in it; kInvalidInput: a file that is no schema or has more than kMaxSchemaBytes,
/// with its name, or too many of them.
Result<std::shared_ptr<WriterSchemas>> ReadSchemaFiles(const std::string& path);

}  // namespace millrace::ingest
