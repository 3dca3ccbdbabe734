#include "process/batch_evaluator.h"

#include <arrow/builder.h>
#include <arrow/compute/api_vector.h>
#include <arrow/table.h>

#include <utility>

namespace millrace::process {

namespace {

constexpr const char* kRowNumber = "_millrace_row";

Result<std::shared_ptr<arrow::Array>> Numbers(std::int64_t count) {
  arrow::Int64Builder builder;
  RETURN_NOT_OK(builder.Reserve(count));
  for (std::int64_t i = 0; i < count; ++i) builder.UnsafeAppend(i);
  return builder.Finish();
}

}  // namespace

Result<std::unique_ptr<BatchEvaluator>> BatchEvaluator::Make(EvaluatorSessions& sessions,
                                                             std::shared_ptr<arrow::Schema> schema,
                                                             std::vector<std::string> expressions, std::string where) {
  std::unique_ptr<BatchEvaluator> evaluator(new BatchEvaluator());
  evaluator->schema_ = std::move(schema);
  if (expressions.empty() && where.empty()) return evaluator;
  evaluator->has_where_ = !where.empty();
  ASSIGN_OR_RETURN(
      evaluator->numbered_schema_,
      evaluator->schema_->AddField(evaluator->schema_->num_fields(), arrow::field(kRowNumber, arrow::int64(), false)));
  ASSIGN_OR_RETURN(auto place, sessions.Next());
  evaluator->session_ = std::move(place.session);
  evaluator->relation_ = std::move(place.relation);
  std::string sql = "SELECT ";
  for (const auto& expression : expressions) sql += fmt::format("({}), ", expression);
  sql += fmt::format("{} FROM {}", kRowNumber, evaluator->relation_);
  if (!where.empty()) sql += fmt::format(" WHERE {}", where);
  evaluator->sql_ = std::move(sql);
  RETURN_NOT_OK(evaluator->session_->Register(evaluator->relation_, evaluator->numbered_schema_, {}));
  ASSIGN_OR_RETURN(const auto empty, evaluator->session_->Query(evaluator->sql_));
  for (int i = 0; i < static_cast<int>(expressions.size()); ++i) {
    evaluator->types_.push_back(empty->schema()->field(i)->type());
  }
  return evaluator;
}

Status BatchEvaluator::EvaluateRange(const std::shared_ptr<arrow::RecordBatch>& numbered, std::int64_t begin,
                                     std::int64_t end, std::vector<std::shared_ptr<arrow::Table>>* passed,
                                     std::vector<FailedRow>* failed) {
  RETURN_NOT_OK(session_->Register(relation_, numbered_schema_, {numbered->Slice(begin, end - begin)}));
  auto table = session_->Query(sql_);
  if (table.ok()) {
    passed->push_back(std::move(table).ValueUnsafe());
    return Status::OK();
  }
  if (KindOf(table.status()) != ErrorKind::kInvalidInput) return table.status();
  if (end - begin == 1) {
    failed->push_back({begin, table.status().message()});
    return Status::OK();
  }
  // The message tells the value, not the row: halve until one row is left.
  const std::int64_t middle = begin + (end - begin) / 2;
  RETURN_NOT_OK(EvaluateRange(numbered, begin, middle, passed, failed));
  return EvaluateRange(numbered, middle, end, passed, failed);
}

Result<Evaluated> BatchEvaluator::Evaluate(const std::shared_ptr<arrow::RecordBatch>& input) {
  const std::int64_t num_input = input->num_rows();
  Evaluated evaluated;
  if (session_ == nullptr) {
    evaluated.num_rows = num_input;
    return evaluated;
  }
  if (num_input == 0) {
    for (const auto& type : types_) {
      ASSIGN_OR_RETURN(auto empty, arrow::MakeEmptyArray(type));
      evaluated.values.push_back(std::move(empty));
    }
    return evaluated;
  }
  if (row_numbers_ == nullptr || row_numbers_->length() < num_input) {
    ASSIGN_OR_RETURN(row_numbers_, Numbers(num_input));
  }
  auto columns = input->columns();
  columns.push_back(row_numbers_->Slice(0, num_input));
  const auto numbered = arrow::RecordBatch::Make(numbered_schema_, num_input, std::move(columns));
  std::vector<std::shared_ptr<arrow::Table>> passed;
  const Status status = EvaluateRange(numbered, 0, num_input, &passed, &evaluated.failed);
  RETURN_NOT_OK(session_->Register(relation_, numbered_schema_, {}));  // Holds no batch longer than needed.
  RETURN_NOT_OK(status);

  std::shared_ptr<arrow::RecordBatch> rows;
  if (passed.empty()) {
    arrow::FieldVector fields;
    for (std::size_t i = 0; i < types_.size(); ++i) fields.push_back(arrow::field(std::to_string(i), types_[i]));
    fields.push_back(arrow::field(kRowNumber, arrow::int64()));
    ASSIGN_OR_RETURN(rows, arrow::RecordBatch::MakeEmpty(arrow::schema(std::move(fields))));
  } else {
    ASSIGN_OR_RETURN(const auto table, arrow::ConcatenateTables(passed));
    ASSIGN_OR_RETURN(rows, table->CombineChunksToBatch());
  }
  const int num_expressions = static_cast<int>(types_.size());
  evaluated.num_rows = rows->num_rows();
  evaluated.filtered = num_input - evaluated.num_rows - static_cast<std::int64_t>(evaluated.failed.size());
  for (int i = 0; i < num_expressions; ++i) evaluated.values.push_back(rows->column(i));
  if (evaluated.num_rows != num_input) {
    evaluated.rows = std::static_pointer_cast<arrow::Int64Array>(rows->column(num_expressions));
  }
  if (!has_where_ && evaluated.filtered != 0) {
    return Internal("{} rows are missing from the answer of {}", evaluated.filtered, sql_);
  }
  return evaluated;
}

Result<std::shared_ptr<arrow::Array>> BatchEvaluator::Passed(const std::shared_ptr<arrow::Array>& column,
                                                             const Evaluated& evaluated) {
  if (evaluated.rows == nullptr) return column;
  return arrow::compute::Take(*column, *evaluated.rows, arrow::compute::TakeOptions::NoBoundsCheck());
}

}  // namespace millrace::process
