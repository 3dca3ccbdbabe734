#include "process/lookup_join.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api_vector.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/ascii_case.h"
#include "sql/sql_session.h"

namespace millrace::process {
namespace {

// The one plain name that a part of FROM is.
Result<std::string> PlainName(const SelectStatement& statement, const ParseTree& table) {
  if (table.type() == "EMPTY") return statement.RefuseAt(table, "there is no FROM");
  if (table.type() != "BASE_TABLE") {
    return statement.RefuseAt(table, "FROM must be one name, of the input or of a transform, and lookups joined to it");
  }
  if (!table["schema_name"].text.empty() || !table["catalog_name"].text.empty() ||
      table["at_clause"].kind != ParseTree::Kind::kNull || !table["column_name_alias"].empty()) {
    return statement.RefuseAt(table, "FROM must be a plain name");
  }
  return table["table_name"].text;
}

// ((events JOIN a) JOIN b) -> the two joins, in this order.
std::vector<const ParseTree*> JoinsOf(const ParseTree& from) {
  std::vector<const ParseTree*> joins;
  for (const ParseTree* at = &from; at->type() == "JOIN"; at = &(*at)["left"]) joins.insert(joins.begin(), at);
  return joins;
}

const ParseTree& LeftMost(const ParseTree& from) {
  const ParseTree* at = &from;
  while (at->type() == "JOIN") at = &(*at)["left"];
  return *at;
}

std::string QualifierOf(const ParseTree& table) {
  return table.alias().empty() ? table["table_name"].text : table.alias();
}

Status CheckKind(const SelectStatement& statement, const ParseTree& join) {
  const std::string& type = join["join_type"].text;
  const std::string& kind = join["ref_type"].text;
  if (type != "INNER" && type != "LEFT") {
    return statement.RefuseAt(join, fmt::format("a join with a lookup is INNER or LEFT, not {}", type));
  }
  if (kind != "REGULAR" && kind != "ASOF") {
    return statement.RefuseAt(join,
                              fmt::format("a join with a lookup says its key with USING or ON; this one is {}", kind));
  }
  return Status::OK();
}

// a AND (b AND c) -> a, b, c.
void Flatten(const ParseTree& condition, std::vector<const ParseTree*>& parts) {
  if (condition.type() != "CONJUNCTION_AND") return parts.push_back(&condition);
  for (const auto& child : condition["children"].items) Flatten(child, parts);
}

std::string Names(const LookupShape& lookup, const std::vector<int>& columns) {
  std::string names;
  for (const int column : columns) {
    names += (names.empty() ? "" : ", ") + lookup.schema->field(column)->name();
  }
  return names;
}

/// `events <comparison> lookup` with a column on each side, turned round if it was written so.
struct Comparison {
  std::string type;
  int events = -1;  // Of the scope.
  int lookup = -1;  // Of the lookup.
};

class ConditionReader {
 public:
  ConditionReader(const SelectStatement& statement, int first, int num_columns)
      : statement_(statement), first_(first), num_columns_(num_columns) {}

  std::optional<Comparison> Read(const ParseTree& part) const {
    if (part.node_class() != "COMPARISON") return std::nullopt;
    const int left = ColumnOf(part["left"]);
    const int right = ColumnOf(part["right"]);
    if (left < 0 || right < 0 || IsLookups(left) == IsLookups(right)) return std::nullopt;
    if (IsLookups(right)) return Comparison{part.type(), left, right - first_};
    return Comparison{TurnedRound(part.type()), right, left - first_};
  }

  /// `lookup.column IS NULL`: its column; else -1.
  int ReadIsNull(const ParseTree& part) const {
    if (part.type() != "OPERATOR_IS_NULL" || part["children"].items.size() != 1) return -1;
    const int column = ColumnOf(part["children"].items[0]);
    return column >= 0 && IsLookups(column) ? column - first_ : -1;
  }

 private:
  int ColumnOf(const ParseTree& expression) const {
    const int column = statement_.ColumnOf(statement_.Resolve(expression, {}));
    return column < first_ + num_columns_ ? column : -1;
  }
  bool IsLookups(int column) const { return column >= first_; }
  static std::string TurnedRound(const std::string& type) {
    if (type == "COMPARE_LESSTHANOREQUALTO") return "COMPARE_GREATERTHANOREQUALTO";
    if (type == "COMPARE_GREATERTHAN") return "COMPARE_LESSTHAN";
    return type == "COMPARE_EQUAL" ? type : "";
  }

  const SelectStatement& statement_;
  const int first_;
  const int num_columns_;
};

}  // namespace

Result<FromNames> NamesInFrom(const SelectStatement& statement) {
  FromNames names;
  for (const ParseTree* join : JoinsOf(statement.from())) {
    RETURN_NOT_OK(CheckKind(statement, *join));
    ASSIGN_OR_RETURN(names.lookups.emplace_back(), PlainName(statement, (*join)["right"]));
  }
  ASSIGN_OR_RETURN(names.relation, PlainName(statement, LeftMost(statement.from())));
  return names;
}

Result<LookupJoin> LookupJoin::Make(SelectStatement& statement, std::shared_ptr<arrow::Schema> input,
                                    std::span<const LookupShape> lookups) {
  LookupJoin made;
  made.num_input_columns_ = input->num_fields();
  statement.SetScope(std::move(input), {QualifierOf(LeftMost(statement.from()))});
  for (const ParseTree* join : JoinsOf(statement.from())) {
    const ParseTree& right = (*join)["right"];
    const auto named = std::find_if(lookups.begin(), lookups.end(), [&](const LookupShape& lookup) {
      return EqualsIgnoringAsciiCase(lookup.name, right["table_name"].text);
    });
    if (named == lookups.end()) {
      return statement.RefuseAt(right,
                                fmt::format("{} is no lookup; only a lookup can be joined", right["table_name"].text));
    }
    std::vector<std::string> merged;
    for (const auto& name : (*join)["using_columns"].items) merged.push_back(name.text);
    Step step{.lookup = static_cast<int>(named - lookups.begin()),
              .name = named->name,
              .inner = (*join)["join_type"].text == "INNER",
              .first = statement.schema().num_fields(),
              .column_names = named->schema->field_names()};
    for (int i = 0; i < named->schema->num_fields(); ++i) step.columns.push_back(i);
    statement.JoinScope(QualifierOf(right), *named->schema, merged);
    made.steps_.push_back(std::move(step));
  }
  made.schema_ = statement.shared_schema();
  return made;
}

Status LookupJoin::ReadConditions(const SelectStatement& statement, std::span<const LookupShape> lookups) {
  const auto joins = JoinsOf(statement.from());
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    RETURN_NOT_OK(ReadCondition(statement, *joins[i], lookups[steps_[i].lookup], steps_[i]));
  }
  return Status::OK();
}

Status LookupJoin::ReadCondition(const SelectStatement& statement, const ParseTree& join, const LookupShape& lookup,
                                 Step& step) const {
  const ConditionReader reader(statement, step.first, lookup.schema->num_fields());
  std::vector<int> events_of(lookup.schema->num_fields(), -1);  // By column of the lookup: what it shall equal.
  std::vector<const ParseTree*> others;
  std::vector<const ParseTree*> parts;
  for (const auto& name : join["using_columns"].items) {
    const int column = lookup.schema->GetFieldIndex(name.text);
    const int of_events = statement.ColumnNamed(name.text);
    if (column < 0 || of_events < 0) {
      return statement.RefuseAt(join, fmt::format("USING ({}) must be spelled as the lookup's column is", name.text));
    }
    events_of[column] = of_events;
  }
  if (join["condition"].kind != ParseTree::Kind::kNull) Flatten(join["condition"], parts);
  for (const ParseTree* part : parts) {
    const auto comparison = reader.Read(*part);
    const bool is_key = comparison && comparison->type == "COMPARE_EQUAL" &&
                        std::find(lookup.key.begin(), lookup.key.end(), comparison->lookup) != lookup.key.end() &&
                        events_of[comparison->lookup] < 0;
    if (is_key) {
      events_of[comparison->lookup] = comparison->events;
    } else {
      others.push_back(part);
    }
  }
  for (std::size_t column = 0; column < events_of.size(); ++column) {
    const bool in_key = std::find(lookup.key.begin(), lookup.key.end(), static_cast<int>(column)) != lookup.key.end();
    if (in_key == (events_of[column] >= 0)) continue;
    return statement.RefuseAt(join,
                              fmt::format("{} is joined by its whole key, ({}), and nothing else; each column of it "
                                          "equals a column of events",
                                          lookup.name, Names(lookup, lookup.key)));
  }
  for (const int column : lookup.key) {
    const auto& ours = *lookup.schema->field(column);
    const auto& of_events = *schema_->field(events_of[column]);
    if (KeyClassOf(*ours.type()) != KeyClassOf(*of_events.type())) {
      return statement.RefuseAt(
          join, fmt::format("{} is {} in {} and {} is {}: cast it in a transform before this one", ours.name(),
                            ours.type()->ToString(), lookup.name, of_events.name(), of_events.type()->ToString()));
    }
    step.keys.push_back(events_of[column]);
  }
  return ReadValidity(statement, join, lookup, others, step);
}

Status LookupJoin::ReadValidity(const SelectStatement& statement, const ParseTree& join, const LookupShape& lookup,
                                const std::vector<const ParseTree*>& conditions, Step& step) const {
  const auto name_of = [&](int column) { return lookup.schema->field(column)->name(); };
  if (lookup.valid_from < 0) {
    if (conditions.empty() && join["ref_type"].text != "ASOF") return Status::OK();
    return statement.RefuseAt(conditions.empty() ? join : *conditions[0],
                              fmt::format("{} is joined by its key, ({}), and nothing else: put other conditions into "
                                          "WHERE; for one on time give the lookup valid_from",
                                          lookup.name, Names(lookup, lookup.key)));
  }
  const std::string wanted = lookup.valid_to < 0
                                 ? fmt::format("ASOF JOIN … ON its key AND ts >= {}", name_of(lookup.valid_from))
                                 : fmt::format("ON its key AND ts >= {0} AND ts < {1}, or (ts < {1} OR {1} IS NULL)",
                                               name_of(lookup.valid_from), name_of(lookup.valid_to));
  const auto refuse = [&] {
    return statement.RefuseAt(join, fmt::format("{} has validity and is joined by {}", lookup.name, wanted));
  };
  const ConditionReader reader(statement, step.first, lookup.schema->num_fields());
  int until = -1;  // The column of events that is compared to valid_to.
  const auto read_until = [&](const ParseTree& part) {
    const auto comparison = reader.Read(part);
    if (!comparison || comparison->type != "COMPARE_LESSTHAN" || comparison->lookup != lookup.valid_to) return false;
    until = comparison->events;
    return true;
  };
  for (const ParseTree* part : conditions) {
    const auto comparison = reader.Read(*part);
    if (comparison && comparison->type == "COMPARE_GREATERTHANOREQUALTO" && comparison->lookup == lookup.valid_from &&
        step.time < 0) {
      step.time = comparison->events;
    } else if (part->type() == "CONJUNCTION_OR" && (*part)["children"].items.size() == 2 && until < 0) {
      const auto& either = (*part)["children"].items;
      const int is_null = reader.ReadIsNull(either[0]) >= 0 ? 0 : 1;
      if (reader.ReadIsNull(either[is_null]) != lookup.valid_to || !read_until(either[1 - is_null])) return refuse();
      step.takes_open = true;
    } else if (until >= 0 || !read_until(*part)) {
      return refuse();
    }
  }
  const bool is_as_of = join["ref_type"].text == "ASOF";
  if (step.time < 0 || is_as_of != (lookup.valid_to < 0) || (!is_as_of && until != step.time)) return refuse();
  const auto& time = *schema_->field(step.time);
  const auto& from = *lookup.schema->field(lookup.valid_from);
  if (!time.type()->Equals(*from.type())) {
    return statement.RefuseAt(
        join, fmt::format("{} is {} and {} of {} is {}: cast it in a transform before this one", time.name(),
                          time.type()->ToString(), from.name(), lookup.name, from.type()->ToString()));
  }
  return Status::OK();
}

std::vector<int> LookupJoin::lookups() const {
  std::vector<int> joined;
  for (const auto& step : steps_) joined.push_back(step.lookup);
  return joined;
}

std::vector<int> LookupJoin::Narrow(std::vector<bool> used) {
  for (const auto& step : steps_) {
    for (const int key : step.keys) used[key] = true;
    if (step.time >= 0) used[step.time] = true;
  }
  std::vector<int> places(schema_->num_fields(), -1);
  arrow::FieldVector fields;
  for (int i = 0; i < schema_->num_fields(); ++i) {
    if (i >= num_input_columns_ && !used[i]) continue;
    places[i] = static_cast<int>(fields.size());
    fields.push_back(schema_->field(i));
  }
  for (auto& step : steps_) {
    std::erase_if(step.columns, [&](int column) { return places[step.first + column] < 0; });
    for (int& key : step.keys) key = places[key];
    if (step.time >= 0) step.time = places[step.time];
  }
  schema_ = arrow::schema(std::move(fields));
  return places;
}

RowOrigin LookupJoin::OriginOf(const RowOrigin& input) const {
  RowOrigin origin = input;
  for (const auto& step : steps_) {
    std::string arguments;
    for (const int key : step.keys) arguments += (arguments.empty() ? "" : ", ") + origin.columns[key];
    if (step.time >= 0) arguments += ", " + origin.columns[step.time];
    // As DuckDB prints a call: which row it is depends on these.
    const auto call = [&](const std::string& name) {
      return fmt::format("{}({})", sql::QuoteIdentifier(name), arguments);
    };
    for (const int column : step.columns) {
      origin.columns.push_back(call(fmt::format("lookup {}/{}", step.name, step.column_names[column])));
    }
    if (!step.inner) continue;
    std::string found = call("lookup " + step.name);
    const auto place = std::lower_bound(origin.conditions.begin(), origin.conditions.end(), found);
    if (place == origin.conditions.end() || *place != found) origin.conditions.insert(place, std::move(found));
  }
  return origin;
}

Result<std::shared_ptr<arrow::Int32Array>> LookupJoin::Find(Step& step, const arrow::ArrayVector& columns,
                                                            std::int64_t num_rows, const LookupTable& table) {
  step.key_views.resize(step.keys.size());
  for (std::size_t k = 0; k < step.keys.size(); ++k) {
    RETURN_NOT_OK(step.key_views[k].Load(columns[step.keys[k]]));
  }
  if (step.time >= 0) RETURN_NOT_OK(step.time_view.Load(columns[step.time]));
  std::vector<std::int32_t> found(static_cast<std::size_t>(num_rows));
  table.Find(step.key_views, step.time >= 0 ? &step.time_view : nullptr, step.takes_open, num_rows, found.data());
  std::vector<std::uint8_t> is_found(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) is_found[i] = found[i] >= 0;
  arrow::Int32Builder builder;
  RETURN_NOT_OK(builder.AppendValues(found.data(), num_rows, is_found.data()));
  std::shared_ptr<arrow::Int32Array> rows;
  RETURN_NOT_OK(builder.Finish(&rows));
  return rows;
}

Result<LookupJoin::Joined> LookupJoin::Apply(const std::shared_ptr<arrow::RecordBatch>& input,
                                             const LookupVersions& versions) {
  const auto options = arrow::compute::TakeOptions::NoBoundsCheck();
  Joined joined;
  auto columns = input->columns();
  std::int64_t num_rows = input->num_rows();
  for (auto& step : steps_) {
    const LookupTable& table = *versions[step.lookup];
    ASSIGN_OR_RETURN(auto rows, Find(step, columns, num_rows, table));
    if (step.inner && rows->null_count() > 0) {
      arrow::Int64Builder builder;
      RETURN_NOT_OK(builder.Reserve(num_rows - rows->null_count()));
      for (std::int64_t i = 0; i < num_rows; ++i) {
        if (rows->IsValid(i)) builder.UnsafeAppend(i);
      }
      std::shared_ptr<arrow::Int64Array> kept;
      RETURN_NOT_OK(builder.Finish(&kept));
      for (auto& column : columns) {
        ASSIGN_OR_RETURN(column, arrow::compute::Take(*column, *kept, options));
      }
      ASSIGN_OR_RETURN(const auto found, arrow::compute::Take(*rows, *kept, options));
      rows = std::static_pointer_cast<arrow::Int32Array>(found);
      if (joined.places != nullptr) {
        ASSIGN_OR_RETURN(const auto places, arrow::compute::Take(*joined.places, *kept, options));
        kept = std::static_pointer_cast<arrow::Int64Array>(places);
      }
      joined.places = std::move(kept);
      num_rows = rows->length();
    }
    for (const int column : step.columns) {
      ASSIGN_OR_RETURN(columns.emplace_back(), arrow::compute::Take(*table.rows()->column(column), *rows, options));
    }
  }
  joined.rows = arrow::RecordBatch::Make(schema_, num_rows, std::move(columns));
  return joined;
}

}  // namespace millrace::process
