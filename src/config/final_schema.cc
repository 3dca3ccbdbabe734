#include "base/ascii_case.h"
#include "config/final_schema_internal.h"
#include "delta/log/actions.h"

namespace millrace::config {
namespace {

Status CheckIsFree(const std::string& name, const char* what) {
  for (const char* const own : {model::kRevision, model::kFinalAt}) {
    if (AsciiLower(name) != own) continue;
    return InvalidInput("the {} '{}' has the name of a column that the table adds; give it another with AS", what,
                        name);
  }
  return Status::OK();
}

// As it comes out of DuckDB.
Result<std::shared_ptr<arrow::DataType>> TypeOf(sql::SqlSession& session, const model::AggregateMeasure& measure) {
  const auto selected = session.Query(fmt::format("SELECT CAST(NULL AS {}) AS value", measure.duckdb_type));
  if (selected.ok()) {
    const auto& type = (*selected)->schema()->field(0)->type();
    if (delta::SchemaToJson(*arrow::schema({arrow::field(measure.name, type)})).ok()) return type;
  }
  return InvalidInput("the measure '{}' is {}, which a table cannot hold; cast it in the SQL", measure.name,
                      measure.duckdb_type);
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> FinalSchema(sql::SqlSession& session,
                                                   const model::AggregateDefinition& definition) {
  if (definition.window.kind == model::Window::Kind::kNone) {
    return InvalidInput("without windows no row is ever final; give the aggregate a window, or leave 'final' out");
  }
  if (definition.window.kind == model::Window::Kind::kSession) {
    return InvalidInput(
        "rows are only appended, so two sessions that a late event makes one could not be taken back; windows of "
        "TUMBLE, HOP and CUMULATE have final tables");
  }
  if (!definition.having_sql.empty()) {
    return InvalidInput(
        "rows are only appended, so a group that late events take out of HAVING could not be taken back; leave HAVING "
        "out, and put the condition where the table is read");
  }
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  arrow::FieldVector fields = {arrow::field(model::kWindowStart, time, false),
                               arrow::field(model::kWindowEnd, time, false)};
  for (const auto& key : definition.keys) {
    RETURN_NOT_OK(CheckIsFree(key.name, "key"));
    fields.push_back(arrow::field(key.name, key.type));
  }
  for (const auto& measure : definition.measures) {
    RETURN_NOT_OK(CheckIsFree(measure.name, "measure"));
    ASSIGN_OR_RETURN(auto type, TypeOf(session, measure));
    fields.push_back(arrow::field(measure.name, std::move(type)));
  }
  fields.push_back(arrow::field(model::kRevision, arrow::int64(), false));
  fields.push_back(arrow::field(model::kFinalAt, time, false));
  return arrow::schema(std::move(fields));
}

}  // namespace millrace::config
