#include "lookup/csv_rows.h"

#include <arrow/compute/cast.h>
#include <arrow/csv/api.h>
#include <arrow/io/memory.h>
#include <arrow/table.h>

namespace millrace::lookup {
namespace {

// As which a column is read, before a number becomes a time.
std::shared_ptr<arrow::DataType> TextTypeOf(const ingest::ColumnSpec& column) {
  return column.form.timestamp == ingest::TimestampForm::kRfc3339 ? column.type : arrow::int64();
}

Result<std::shared_ptr<arrow::Array>> AsTimes(const arrow::Array& numbers, ingest::TimestampForm form) {
  using Unit = arrow::TimeUnit;
  Unit::type unit = Unit::MICRO;
  if (form == ingest::TimestampForm::kSeconds) unit = Unit::SECOND;
  if (form == ingest::TimestampForm::kMillis) unit = Unit::MILLI;
  if (form == ingest::TimestampForm::kNanos) unit = Unit::NANO;
  ASSIGN_OR_RETURN(const auto times, numbers.View(arrow::timestamp(unit, "UTC")));
  auto options = arrow::compute::CastOptions::Safe(arrow::timestamp(Unit::MICRO, "UTC"));
  options.allow_time_truncate = true;  // Nanoseconds.
  return arrow::compute::Cast(*times, options.to_type, options);
}

}  // namespace

Result<std::shared_ptr<arrow::RecordBatch>> CsvRows(const std::shared_ptr<arrow::Buffer>& file,
                                                    const std::vector<ingest::ColumnSpec>& columns) {
  auto read = arrow::csv::ReadOptions::Defaults();
  read.use_threads = false;
  auto parse = arrow::csv::ParseOptions::Defaults();
  parse.newlines_in_values = true;
  auto convert = arrow::csv::ConvertOptions::Defaults();
  convert.null_values = {""};
  convert.strings_can_be_null = true;
  convert.quoted_strings_can_be_null = false;
  arrow::FieldVector fields;
  for (const auto& column : columns) {
    convert.include_columns.push_back(column.path.front());
    convert.column_types[column.path.front()] = TextTypeOf(column);
    fields.push_back(arrow::field(column.name, column.type));
  }
  const auto failed = [](const Status& status) { return InvalidInput("{}", status.message()); };
  const auto reader = arrow::csv::TableReader::Make(
      arrow::io::default_io_context(), std::make_shared<arrow::io::BufferReader>(file), read, parse, convert);
  if (!reader.ok()) return failed(reader.status());
  const auto table = (*reader)->Read();
  if (!table.ok()) return failed(table.status());
  ASSIGN_OR_RETURN(const auto rows, (*table)->CombineChunksToBatch());
  auto values = rows->columns();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].form.timestamp == ingest::TimestampForm::kRfc3339) continue;
    auto times = AsTimes(*values[i], columns[i].form.timestamp);
    if (!times.ok()) return failed(times.status());
    values[i] = *std::move(times);
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows->num_rows(), std::move(values));
}

}  // namespace millrace::lookup
