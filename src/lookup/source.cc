#include "lookup/source.h"

#include <arrow/compute/cast.h>
#include <arrow/io/memory.h>
#include <arrow/util/byte_size.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/nearest_name.h"
#include "delta/data/scan.h"
#include "delta/table.h"
#include "ingest/decode_spec.h"
#include "lookup/csv_rows.h"
#include "lookup/json_rows.h"
#include "lookup/parquet_rows.h"
#include "lookup/postgres_rows.h"
#include "objectstore/s3/sigv4.h"

namespace millrace::lookup {
namespace {

std::vector<std::string> NamesOf(const arrow::FieldVector& fields) {
  std::vector<std::string> names;
  for (const auto& field : fields) names.push_back(field->name());
  return names;
}

class DeltaRows : public RowReader {
 public:
  explicit DeltaRows(std::shared_ptr<objectstore::ObjectStore> store) : store_(std::move(store)) {}

  Result<std::shared_ptr<arrow::Schema>> Columns() override {
    ASSIGN_OR_RETURN(const auto snapshot, Snapshot());
    return snapshot->schema;
  }

  Result<std::optional<ReadRows>> Read(const arrow::FieldVector& columns, const std::string& known_version,
                                       std::int64_t bytes_max) override {
    ASSIGN_OR_RETURN(const auto snapshot, Snapshot());
    const std::string version = fmt::format("version {}", snapshot->version);
    if (version == known_version) return std::nullopt;
    for (const auto& field : columns) {
      if (snapshot->schema->GetFieldByName(field->name()) == nullptr) {
        return InvalidInput("there is no column {} any more", field->name());
      }
    }
    ASSIGN_OR_RETURN(const auto scan, delta::OpenScan(store_, snapshot, {.columns = NamesOf(columns)}));
    ASSIGN_OR_RETURN(auto rows, ReadAll(*scan, bytes_max));
    return ReadRows{std::move(rows), version};
  }

  void Interrupt() override { store_->Interrupt(); }

 private:
  Result<delta::SnapshotPtr> Snapshot() {
    if (table_ == nullptr) {
      ASSIGN_OR_RETURN(table_, delta::Table::Open(store_));
      return table_->snapshot();
    }
    return table_->Refresh();
  }

  const std::shared_ptr<objectstore::ObjectStore> store_;
  std::shared_ptr<delta::Table> table_;
};

class FileRows : public RowReader {
 public:
  FileRows(const LookupSpec& spec, std::shared_ptr<objectstore::ObjectStore> store, std::string key)
      : kind_(spec.kind), columns_(spec.columns), store_(std::move(store)), key_(std::move(key)) {}

  // CSV and JSON say nothing of their types: that is declared. The file must be there all the same.
  Result<std::shared_ptr<arrow::Schema>> Columns() override {
    if (kind_ == SourceKind::kParquet) {
      ASSIGN_OR_RETURN(auto file, store_->Open(key_));
      return ParquetColumns(std::move(file));
    }
    ASSIGN_OR_RETURN(const auto found, store_->Stat(key_));
    if (!found) return NotFound("there is no such file");
    return ingest::DecodedSchema({.columns = columns_});
  }

  Result<std::optional<ReadRows>> Read(const arrow::FieldVector& columns, const std::string& known_version,
                                       std::int64_t bytes_max) override {
    ASSIGN_OR_RETURN(const auto found, store_->Stat(key_));
    if (!found) return NotFound("there is no such file");
    if (found->size > bytes_max) return TooLarge("the file has {} bytes, more than {}", found->size, bytes_max);
    ASSIGN_OR_RETURN(const auto file, store_->Read(key_));
    const std::string_view bytes(*file);
    std::string version = "sha256 " + objectstore::s3::Sha256Hex(bytes).substr(0, 16);
    if (version == known_version) return std::nullopt;
    std::shared_ptr<arrow::RecordBatch> rows;
    if (kind_ == SourceKind::kParquet) {
      ASSIGN_OR_RETURN(rows, ParquetRows(std::make_shared<arrow::io::BufferReader>(file), NamesOf(columns), bytes_max));
    } else if (kind_ == SourceKind::kCsv) {
      ASSIGN_OR_RETURN(rows, CsvRows(file, columns_));
    } else {
      ASSIGN_OR_RETURN(rows, JsonRows(bytes, columns_));
    }
    return ReadRows{std::move(rows), std::move(version)};
  }

  void Interrupt() override { store_->Interrupt(); }

 private:
  const SourceKind kind_;
  const std::vector<ingest::ColumnSpec> columns_;
  const std::shared_ptr<objectstore::ObjectStore> store_;
  const std::string key_;
};

/// In what SQL, tables and our index can hold; nullptr: nothing that they can.
std::shared_ptr<arrow::DataType> UsableType(const std::shared_ptr<arrow::DataType>& type) {
  switch (type->id()) {
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DATE32:
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return type;
    case arrow::Type::UINT8:
      return arrow::int16();
    case arrow::Type::UINT16:
      return arrow::int32();
    case arrow::Type::UINT32:
      return arrow::int64();
    case arrow::Type::LARGE_STRING:
    case arrow::Type::STRING_VIEW:
      return arrow::utf8();
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::BINARY_VIEW:
    case arrow::Type::FIXED_SIZE_BINARY:
      return arrow::binary();
    case arrow::Type::DICTIONARY:
      return UsableType(static_cast<const arrow::DictionaryType&>(*type).value_type());
    case arrow::Type::TIMESTAMP: {
      const bool has_zone = !static_cast<const arrow::TimestampType&>(*type).timezone().empty();
      return arrow::timestamp(arrow::TimeUnit::MICRO, has_zone ? "UTC" : "");
    }
    default:
      return nullptr;
  }
}

// Nobody's password: libpq's own messages name the host.
std::string Place(const LookupSpec& spec) {
  if (spec.kind == SourceKind::kPostgres) return fmt::format("lookup {}: postgres", spec.name);
  return fmt::format("lookup {}: {} {}", spec.name, ToString(spec.kind), spec.uri);
}

}  // namespace

std::string_view ToString(SourceKind kind) {
  switch (kind) {
    case SourceKind::kDelta:
      return "delta";
    case SourceKind::kParquet:
      return "parquet";
    case SourceKind::kCsv:
      return "csv";
    case SourceKind::kJson:
      return "json";
    case SourceKind::kPostgres:
      return "postgres";
  }
  return "delta";
}

bool IsLocal(const LookupSpec& spec) {
  if (spec.kind == SourceKind::kPostgres) return false;
  return spec.uri.find("://") == std::string::npos || spec.uri.starts_with("file://");
}

Status Source::WithPlace(const Status& status) const { return WithContext(status, "{}", Place(spec_)); }

Result<process::LookupShape> Source::Shape() {
  const auto columns = reader_->Columns();
  if (!columns.ok()) return WithPlace(columns.status());
  process::LookupShape shape{.name = spec_.name};
  arrow::FieldVector fields;
  std::vector<std::string> left_out;
  for (const auto& field : (*columns)->fields()) {
    if (const auto type = UsableType(field->type())) {
      fields.push_back(arrow::field(field->name(), type));
    } else {
      left_out.push_back(fmt::format("{} ({})", field->name(), field->type()->ToString()));
    }
  }
  if (!left_out.empty()) {
    spdlog::info("lookup {}: columns that a transform cannot use are left out: {}", spec_.name,
                 fmt::join(left_out, ", "));
  }
  shape.schema = arrow::schema(std::move(fields));
  const auto find = [&](std::string_view what, const std::string& name) -> Result<int> {
    const int column = shape.schema->GetFieldIndex(name);
    if (column >= 0) return column;
    return WithPlace(
        InvalidInput("there is no column {} ({}){}", name, what, DidYouMean(name, shape.schema->field_names())));
  };
  for (const auto& name : spec_.key) {
    ASSIGN_OR_RETURN(shape.key.emplace_back(), find("key", name));
  }
  if (!spec_.valid_from.empty()) {
    ASSIGN_OR_RETURN(shape.valid_from, find("valid_from", spec_.valid_from));
  }
  if (!spec_.valid_to.empty()) {
    ASSIGN_OR_RETURN(shape.valid_to, find("valid_to", spec_.valid_to));
  }
  RETURN_NOT_OK(process::CheckLookupShape(shape));
  return shape;
}

Result<std::optional<ReadRows>> Source::Read(const process::LookupShape& shape, const std::string& known_version,
                                             std::int64_t bytes_max) {
  auto read = reader_->Read(shape.schema->fields(), known_version, bytes_max);
  if (!read.ok()) return WithPlace(read.status());
  if (!*read) return std::nullopt;
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (const auto& field : shape.schema->fields()) {
    const auto column = (*read)->rows->GetColumnByName(field->name());
    if (column == nullptr) return WithPlace(InvalidInput("there is no column {} any more", field->name()));
    const auto type = UsableType(column->type());
    if (type == nullptr || !type->Equals(*field->type())) {
      return WithPlace(InvalidInput("the column {} is now {}, and was {}; start again to take it", field->name(),
                                    column->type()->ToString(), field->type()->ToString()));
    }
    auto options = arrow::compute::CastOptions::Safe(type);
    options.allow_time_truncate = true;  // Nanoseconds.
    auto usable = arrow::compute::Cast(*column, type, options);
    if (!usable.ok()) return WithPlace(InvalidInput("column {}: {}", field->name(), usable.status().message()));
    columns.push_back(*std::move(usable));
  }
  (*read)->rows = arrow::RecordBatch::Make(shape.schema, (*read)->rows->num_rows(), std::move(columns));
  if (const auto bytes = arrow::util::TotalBufferSize(*(*read)->rows); bytes > bytes_max) {
    return WithPlace(TooLarge("its rows take {} bytes, more than {}", bytes, bytes_max));
  }
  return *std::move(read);
}

Result<std::unique_ptr<Source>> OpenSource(const LookupSpec& spec, const objectstore::S3Settings& s3) {
  if (spec.kind == SourceKind::kPostgres) {
    return std::make_unique<Source>(spec, MakePostgresRows(spec.uri, spec.query));
  }
  std::string folder = spec.uri;
  std::string key;
  if (spec.kind != SourceKind::kDelta) {
    const auto slash = folder.rfind('/');
    key = slash == std::string::npos ? folder : folder.substr(slash + 1);
    folder = slash == std::string::npos ? "." : folder.substr(0, std::max<std::size_t>(slash, 1));
  }
  auto store = objectstore::OpenStore(folder, objectstore::IfMissing::kRefuse, s3);
  if (!store.ok()) {
    return WithContext(store.status(), "{}", Place(spec));
  }
  std::unique_ptr<RowReader> reader;
  if (spec.kind == SourceKind::kDelta) {
    reader = std::make_unique<DeltaRows>(*std::move(store));
  } else {
    reader = std::make_unique<FileRows>(spec, *std::move(store), std::move(key));
  }
  return std::make_unique<Source>(spec, std::move(reader));
}

}  // namespace millrace::lookup
