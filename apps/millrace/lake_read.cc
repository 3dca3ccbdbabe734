// millrace lake read: rows of any Delta table on standard output.
#include <arrow/io/stdio.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>
#include <parquet/arrow/writer.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "delta/data/scan.h"
#include "flag_checks.h"
#include "lake_table.h"
#include "query/row_filter.h"
#include "serve/answer_writer.h"

namespace millrace::app {
namespace {

struct LakeReadFlags {
  lake::TableAt at;
  std::string output = "ndjson";
  std::vector<std::string> columns;
  std::string where;
  std::optional<std::int64_t> limit;
};

// Where rows go, in one of the formats.
class Output {
 public:
  virtual ~Output() = default;
  virtual Status Write(const arrow::RecordBatch& batch) = 0;
  virtual Status Finish() { return Status::OK(); }
};

Status WriteOut(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) return Status::OK();
  return Transient("cannot write to standard output");
}

class TextOutput final : public Output {
 public:
  TextOutput(bool csv, const arrow::Schema& schema) : csv_(csv), pending_(csv ? serve::CsvHeader(schema) : "") {}
  Status Write(const arrow::RecordBatch& batch) override {
    RETURN_NOT_OK(csv_ ? serve::AppendCsv(batch, pending_) : serve::AppendNdjson(batch, pending_));
    RETURN_NOT_OK(WriteOut(pending_));
    pending_.clear();
    return Status::OK();
  }
  Status Finish() override {
    RETURN_NOT_OK(WriteOut(pending_));
    return std::fflush(stdout) == 0 ? Status::OK() : Transient("cannot write to standard output");
  }

 private:
  const bool csv_;
  std::string pending_;
};

class ArrowOutput final : public Output {
 public:
  static Result<std::unique_ptr<Output>> Make(const std::shared_ptr<arrow::Schema>& schema) {
    auto output = std::make_unique<ArrowOutput>();
    ASSIGN_OR_RETURN(output->writer_, arrow::ipc::MakeStreamWriter(&output->stream_, schema));
    return output;
  }
  Status Write(const arrow::RecordBatch& batch) override { return writer_->WriteRecordBatch(batch); }
  Status Finish() override {
    RETURN_NOT_OK(writer_->Close());
    return stream_.Flush();
  }

 private:
  arrow::io::StdoutStream stream_;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer_;
};

class ParquetOutput final : public Output {
 public:
  static Result<std::unique_ptr<Output>> Make(const std::shared_ptr<arrow::Schema>& schema) {
    auto output = std::make_unique<ParquetOutput>();
    const auto properties = parquet::WriterProperties::Builder().compression(parquet::Compression::ZSTD)->build();
    ASSIGN_OR_RETURN(output->writer_, parquet::arrow::FileWriter::Open(*schema, arrow::default_memory_pool(),
                                                                       output->stream_, properties));
    return output;
  }
  Status Write(const arrow::RecordBatch& batch) override { return writer_->WriteRecordBatch(batch); }
  Status Finish() override {
    RETURN_NOT_OK(writer_->Close());
    return stream_->Flush();
  }

 private:
  std::shared_ptr<arrow::io::StdoutStream> stream_ = std::make_shared<arrow::io::StdoutStream>();
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
};

Result<std::unique_ptr<Output>> MakeOutput(const std::string& format, const std::shared_ptr<arrow::Schema>& schema) {
  if (format == "arrow") return ArrowOutput::Make(schema);
  if (format == "parquet") return ParquetOutput::Make(schema);
  return std::make_unique<TextOutput>(format == "csv", *schema);
}

// Without the table's notes on its columns, which are JSON of the log.
std::shared_ptr<arrow::Schema> Plain(const arrow::Schema& schema) {
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) fields.push_back(field->RemoveMetadata());
  return arrow::schema(std::move(fields));
}

Status Read(const LakeReadFlags& options) {
  ASSIGN_OR_RETURN(const auto opened, lake::Open(options.at));
  const auto& schema = opened.snapshot->schema;
  const std::vector<std::string> columns =
      options.columns.empty() ? schema->field_names() : SplitNames(options.columns);
  delta::ScanOptions scan{.columns = columns};
  std::unique_ptr<query::RowFilter> filter;
  if (!options.where.empty()) {
    ASSIGN_OR_RETURN(filter, query::RowFilter::Make(options.where, schema));
    scan.where = filter->implied();
    if (filter->is_implied_whole()) filter = nullptr;
  }
  if (filter != nullptr) {
    for (const auto& column : filter->columns()) {
      if (std::find(scan.columns.begin(), scan.columns.end(), column) == scan.columns.end()) {
        scan.columns.push_back(column);
      }
    }
  } else {
    scan.limit = options.limit;
  }
  ASSIGN_OR_RETURN(const auto reader, delta::OpenScan(opened.store, opened.snapshot, scan));
  std::vector<int> kept(columns.size());
  for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = static_cast<int>(i);

  std::unique_ptr<Output> output;
  std::shared_ptr<arrow::Schema> plain;
  std::int64_t left = options.limit.value_or(INT64_MAX);
  while (true) {
    std::shared_ptr<arrow::RecordBatch> batch;
    if (left > 0) RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch != nullptr && filter != nullptr) {
      ASSIGN_OR_RETURN(batch, filter->Apply(batch));
    }
    // Made only once the first rows are there: a table that cannot be read leaves nothing on standard output.
    if (output == nullptr) {
      arrow::FieldVector fields;
      for (const int i : kept) fields.push_back(reader->schema()->field(i));
      plain = Plain(arrow::Schema(std::move(fields)));
      ASSIGN_OR_RETURN(output, MakeOutput(options.output, plain));
    }
    if (batch == nullptr) break;
    if (batch->num_rows() > left) batch = batch->Slice(0, left);
    left -= batch->num_rows();
    ASSIGN_OR_RETURN(const auto projected, batch->SelectColumns(kept));
    RETURN_NOT_OK(output->Write(*arrow::RecordBatch::Make(plain, projected->num_rows(), projected->columns())));
  }
  return output->Finish();
}

}  // namespace

Run AddLakeRead(CLI::App& app) {
  auto options = std::make_shared<LakeReadFlags>();
  lake::AddTable(app, options->at);
  lake::AddVersion(app, options->at);
  app.add_option("-o,--output", options->output, "Format of the rows")
      ->check(CLI::IsMember({"ndjson", "csv", "arrow", "parquet"}))
      ->capture_default_str();
  app.add_option("--columns", options->columns, "Columns, comma-separated, in order; all if not given")
      ->check(CheckNames);
  app.add_option("--where", options->where, "Only rows for which this DuckDB expression is true");
  app.add_option("--limit", options->limit, "Rows at most")->check(WholeNumber(0));
  return [options] {
    const bool binary = options->output == "arrow" || options->output == "parquet";
    if (binary && isatty(STDOUT_FILENO) != 0) {
      return Complain(InvalidInput("-o {} is binary: redirect standard output to a file or a pipe", options->output),
                      kUsage);
    }
    const Status status = Read(*options);
    return status.ok() ? kOk : Complain(status);
  };
}

}  // namespace millrace::app
