#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/json_text.h"
#include "base/nearest_name.h"
#include "ingest/avro/plan_internal.h"
#include "ingest/avro/resolution_internal.h"
#include "ingest/values/column_internal.h"

namespace millrace::ingest::avro {
namespace {

constexpr int kMaxParts = 1'000'000;

// The other branch of a union of null and one type; nullptr: it is another union, or none.
const Schema* NullableOf(const Schema& schema) {
  if (schema.type != Type::kUnion || schema.branches.size() != 2) return nullptr;
  for (int i = 0; i < 2; ++i) {
    if (schema.branches[i]->type == Type::kNull && schema.branches[1 - i]->type != Type::kNull) {
      return schema.branches[1 - i].get();
    }
  }
  return nullptr;
}

bool IsText(const Schema& schema) {
  return schema.type == Type::kString || schema.type == Type::kBytes || schema.type == Type::kEnum ||
         schema.type == Type::kNull;
}

// A union of types that are not all told apart in one column of plain texts.
bool IsMixed(const Schema& schema) {
  return schema.type == Type::kUnion && NullableOf(schema) == nullptr &&
         !std::all_of(schema.branches.begin(), schema.branches.end(), [](const auto& one) { return IsText(*one); });
}

std::vector<std::uint32_t> ColumnsBelow(const ColumnTree& node) {
  std::vector<std::uint32_t> columns = node.columns;
  for (const auto& [name, child] : node.children) {
    const auto below = ColumnsBelow(child);
    columns.insert(columns.end(), below.begin(), below.end());
  }
  return columns;
}

class Compiler {
 public:
  Compiler(const DecodeSpec& spec, Plan& plan) : spec_(spec), plan_(plan) {}

  Status CompileRoot(const Schema& writer, const Schema& reader, const ColumnTree& columns) {
    if (reader.type != Type::kRecord) {
      return InvalidInput("events are records, and the schema is a {}", Describe(reader));
    }
    if (writer.type != Type::kRecord || !HasSameName(writer, reader)) {
      return InvalidInput("the writer's {} cannot be read as {}", Describe(writer), Describe(reader));
    }
    RETURN_NOT_OK(CompileFields(writer, reader, columns, "", spec_.has_rescued_column()));
    RETURN_NOT_OK(TakePart());  // A branch may have failed for the lack of it.
    Add({.op = Op::kEnd});
    return Status::OK();
  }

 private:
  // Of unions within unions of records that are called alike the ways are the product.
  Status TakePart() {
    if (parts_left_ == 0) return InvalidInput("to read it takes a plan of more than {} parts", kMaxParts);
    --parts_left_;
    return Status::OK();
  }

  std::uint32_t Add(Step step) {
    plan_.steps.push_back(step);
    return static_cast<std::uint32_t>(plan_.steps.size() - 1);
  }
  std::uint32_t here() const { return static_cast<std::uint32_t>(plan_.steps.size()); }

  std::uint32_t AddPath(const std::string& path) {
    if (plan_.paths.empty() || plan_.paths.back() != path) plan_.paths.push_back(path);
    return static_cast<std::uint32_t>(plan_.paths.size() - 1);
  }

  std::uint32_t AddKey(std::string_view name) {
    std::string key;
    AppendJsonString(name, key);
    plan_.keys.push_back(key + ":");
    return static_cast<std::uint32_t>(plan_.keys.size() - 1);
  }

  static std::string Below(const std::string& path, std::string_view name) {
    return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
  }

  static const Field* FindField(const Schema& record, std::string_view name) {
    const auto found = std::find_if(record.fields.begin(), record.fields.end(),
                                    [&](const Field& field) { return field.name == name; });
    return found == record.fields.end() ? nullptr : &*found;
  }

  // The reader's field that the writer's is; an alias counts only where the writer has no field of the name itself.
  static const Field* ReaderField(const Field& field, const Schema& writer, const Schema& reader) {
    if (const Field* same = FindField(reader, field.name)) return same;
    for (const Field& other : reader.fields) {
      if (std::find(other.aliases.begin(), other.aliases.end(), field.name) != other.aliases.end() &&
          FindField(writer, other.name) == nullptr) {
        return &other;
      }
    }
    return nullptr;
  }

  Status CheckPaths(const Schema& reader, const ColumnTree& node, const std::string& path) const {
    for (const auto& [name, child] : node.children) {
      if (FindField(reader, name) != nullptr) continue;
      std::vector<std::string> names;
      for (const Field& field : reader.fields) names.push_back(Below(path, field.name));
      const std::string wanted = Below(path, name);
      return InvalidInput("column '{}': the schema has no field '{}'{}",
                          spec_.columns[ColumnsBelow(child).front()].name, wanted, DidYouMean(wanted, names));
    }
    return Status::OK();
  }

  Status CompileFields(const Schema& writer, const Schema& reader, const ColumnTree& node, const std::string& path,
                       bool rescues) {
    RETURN_NOT_OK(CheckPaths(reader, node, path));
    std::vector<const ColumnTree*> found;
    for (const Field& field : writer.fields) {
      RETURN_NOT_OK(TakePart());
      const Field* const wanted = ReaderField(field, writer, reader);
      const ColumnTree* const child = wanted == nullptr ? nullptr : node.Find(wanted->name);
      const std::string below = Below(path, field.name);
      if (child != nullptr && std::find(found.begin(), found.end(), child) == found.end()) {
        found.push_back(child);
        RETURN_NOT_OK(CompileField(*field.type, *wanted->type, *child, below, field.name, rescues));
      } else if (spec_.unknown_fields == UnknownFields::kReject && !in_default_) {
        Add({.op = Op::kUnknownField, .path = AddPath(below)});
      } else if (rescues) {
        Add({.op = Op::kRescue, .arg = AddKey(field.name), .path = AddPath(below), .schema = field.type.get()});
      } else if (field.type->min_bytes > 0) {
        Add({.op = Op::kSkip, .path = AddPath(below), .schema = field.type.get()});
      }
    }
    for (const auto& [name, child] : node.children) {
      if (std::find(found.begin(), found.end(), &child) != found.end()) continue;
      const Field& field = *FindField(reader, name);
      const std::string below = Below(path, name);
      if (!field.default_bytes) return HasNoDefault(writer, below);
      plan_.defaults.push_back(*field.default_bytes);
      Add({.op = Op::kBeginDefault, .arg = static_cast<std::uint32_t>(plan_.defaults.size() - 1)});
      const bool was_in_default = std::exchange(in_default_, true);
      Status status = CompileField(*field.type, *field.type, child, below, name, false);
      in_default_ = was_in_default;
      RETURN_NOT_OK(status);
      Add({.op = Op::kEndDefault});
    }
    return Status::OK();
  }

  Status CompileField(const Schema& writer, const Schema& reader, const ColumnTree& node, const std::string& path,
                      std::string_view name, bool rescues) {
    if (node.children.empty()) {
      Add({.op = Op::kMark});
      has_untaken_members_ = false;
      for (std::size_t i = 0; i < node.columns.size(); ++i) {
        if (i > 0) Add({.op = Op::kRewind});
        RETURN_NOT_OK(CompileColumn(writer, reader, node.columns[i], path));
      }
      if (rescues && has_untaken_members_) {
        // They may be in any of many records, and so the field is rescued with all that is in it.
        Add({.op = Op::kRewind});
        Add({.op = Op::kRescue, .arg = AddKey(name), .path = AddPath(path), .schema = &writer});
      } else if (node.columns.size() == 1) {
        plan_.steps.erase(plan_.steps.end() - 2);  // Nobody returns to the mark.
      }
      return Status::OK();
    }
    if (writer.type == Type::kUnion) {
      return CompileBranches(writer, reader, node, path, [&](const Schema& branch, const Schema& as) {
        return CompileField(branch, as, node, path, name, rescues);
      });
    }
    const Schema* const as = ReaderFor(writer, reader);
    if (as == nullptr) return CannotRead(writer, reader, path);
    if (writer.type != Type::kRecord) {
      return InvalidInput("field '{}' is {}, which has no fields", path, Describe(writer));
    }
    if (rescues) Add({.op = Op::kOpen, .arg = AddKey(name)});
    RETURN_NOT_OK(CompileFields(writer, *as, node, path, rescues));
    if (rescues) Add({.op = Op::kClose});
    return Status::OK();
  }

  // Steps for each branch. One that cannot be read makes the records refused that have it, unless none can.
  template <typename Compile>
  Status CompileBranches(const Schema& writer, const Schema& reader, const ColumnTree& node, const std::string& path,
                         Compile compile) {
    const std::vector<std::uint32_t> columns = ColumnsBelow(node);
    const std::uint32_t table = static_cast<std::uint32_t>(plan_.jumps.size());
    plan_.jumps.emplace_back();
    Add({.op = Op::kBranch, .arg = table, .path = AddPath(path), .schema = &writer});
    std::vector<std::uint32_t> targets;
    std::vector<std::uint32_t> ends;
    Status failure;
    bool any_good = false;
    for (const SchemaPtr& branch : writer.branches) {
      targets.push_back(here());
      const Schema* const as = ReaderFor(*branch, reader);
      Status status = as == nullptr ? CannotRead(*branch, reader, path) : Status::OK();
      if (status.ok() && branch->type == Type::kNull) {
        plan_.column_sets.push_back(columns);
        Add({.op = Op::kSetNull, .arg = static_cast<std::uint32_t>(plan_.column_sets.size() - 1)});
      } else {
        if (status.ok()) status = compile(*branch, *as);
        any_good |= status.ok();
      }
      if (!status.ok()) {
        failure = std::move(status);
        plan_.steps.resize(targets.back());
        Add({.op = Op::kMismatch, .column = columns.front(), .path = AddPath(path), .schema = branch.get()});
      }
      ends.push_back(Add({.op = Op::kJump}));
    }
    for (const std::uint32_t end : ends) plan_.steps[end].arg = here();
    plan_.jumps[table] = std::move(targets);
    return any_good ? Status::OK() : failure;
  }

  Status CannotRead(const Schema& writer, const Schema& reader, const std::string& path) const {
    return InvalidInput("field '{}': the writer's {} cannot be read as {}", path, Describe(writer), Describe(reader));
  }

  Status CompileColumn(const Schema& writer, const Schema& reader, std::uint32_t column, const std::string& path) {
    const ColumnSpec& spec = spec_.columns[column];
    ASSIGN_OR_RETURN(const Step leaf, CompileLeaf(writer, reader, *spec.type, spec.form, column, path));
    Add(leaf);
    return Status::OK();
  }

  static std::int8_t NullBranch(const Schema& schema) {
    if (NullableOf(schema) == nullptr) return -1;
    return schema.branches[0]->type == Type::kNull ? 0 : 1;
  }

  std::uint32_t AddLeaf(const Step& leaf) {
    plan_.leaves.push_back(leaf);
    return static_cast<std::uint32_t>(plan_.leaves.size() - 1);
  }

  Status CannotTake(const Schema& writer, std::uint32_t column, const std::string& path) const {
    const ColumnSpec& spec = spec_.columns[column];
    return InvalidInput("column '{}': {} cannot take the field '{}', which is {}", spec.name,
                        TypeName(*spec.type, spec.form), path, Describe(writer));
  }

  Result<Step> CompileLeaf(const Schema& writer, const Schema& reader, const arrow::DataType& type,
                           const ValueForm& form, std::uint32_t column, const std::string& path) {
    RETURN_NOT_OK(TakePart());
    const bool is_text = type.id() == arrow::Type::STRING && form.text == TextForm::kPlain;
    if (is_text && IsMixed(reader)) return CompileMixed(writer, reader, column, path);
    if (writer.type != Type::kUnion) {
      const Schema* const as = ReaderFor(writer, reader);
      if (as == nullptr) return CannotRead(writer, reader, path);
      return CompileScalar(writer, *as, type, form, column, path);
    }
    const Schema* const inner = NullableOf(writer);
    if (inner != nullptr && ReaderFor(Schema{}, reader) != nullptr) {
      ASSIGN_OR_RETURN(Step leaf, CompileLeaf(*inner, reader, type, form, column, path));
      leaf.null_branch = NullBranch(writer);
      return leaf;
    }
    std::vector<std::uint32_t> branches;
    Status failure;
    bool any_good = false;
    for (const SchemaPtr& branch : writer.branches) {
      auto leaf = CompileLeaf(*branch, reader, type, form, column, path);
      any_good |= leaf.ok() && (branch->type != Type::kNull || writer.branches.size() == 1);
      if (!leaf.ok()) {
        failure = leaf.status();
        leaf = Step{.op = Op::kMismatch, .column = column, .path = AddPath(path), .schema = branch.get()};
      }
      branches.push_back(AddLeaf(*leaf));
    }
    if (!any_good) return failure;
    return Branches({.column = column, .path = AddPath(path), .schema = &writer}, std::move(branches));
  }

  // Values of several types in one column of texts: each as JSON, so that they can be told apart, whatever the writer.
  Result<Step> CompileMixed(const Schema& writer, const Schema& reader, std::uint32_t column, const std::string& path) {
    Step step{.column = column, .path = AddPath(path), .schema = &writer};
    if (writer.type != Type::kUnion) {
      if (ReaderFor(writer, reader) == nullptr) return CannotRead(writer, reader, path);
      step.op = writer.type == Type::kNull ? Op::kNull : Op::kJson;
      return step;
    }
    std::vector<std::uint32_t> branches;
    Status failure;
    for (const SchemaPtr& branch : writer.branches) {
      auto leaf = CompileMixed(*branch, reader, column, path);
      if (!leaf.ok()) {
        failure = leaf.status();
        leaf = Step{.op = Op::kMismatch, .column = column, .path = step.path, .schema = branch.get()};
      }
      branches.push_back(AddLeaf(*leaf));
    }
    const bool any_good = std::any_of(branches.begin(), branches.end(),
                                      [&](std::uint32_t leaf) { return plan_.leaves[leaf].op != Op::kMismatch; });
    if (!any_good) return failure;
    return Branches(step, std::move(branches));
  }

  Step Branches(Step step, std::vector<std::uint32_t> branches) {
    plan_.leaf_branches.push_back(std::move(branches));
    step.op = Op::kBranches;
    step.arg = static_cast<std::uint32_t>(plan_.leaf_branches.size() - 1);
    return step;
  }

  // The writer's, with what its values mean as the reader says if the writer does not.
  const Schema& Meaning(const Schema& writer, const Schema& reader) {
    if (writer.logical != Logical::kNone || reader.logical == Logical::kNone) return writer;
    const bool is_integer = writer.type == Type::kInt && reader.type == Type::kLong;
    if (writer.type != reader.type && !is_integer) return writer;
    auto meant = std::make_shared<Schema>(writer);
    meant->logical = reader.logical;
    meant->precision = reader.precision;
    meant->scale = reader.scale;
    plan_.schemas.push_back(meant);
    return *meant;
  }

  Result<Step> CompileScalar(const Schema& writer, const Schema& reader, const arrow::DataType& type,
                             const ValueForm& form, std::uint32_t column, const std::string& path) {
    ASSIGN_OR_RETURN(const ValueKind kind, KindOfColumn(type, form));
    if (kind < ValueKind::kString && writer.type != Type::kNull) {
      return CompileNested(writer, reader, kind, type, form, column, path);
    }
    const Schema& meant = Meaning(writer, reader);
    Step step{.column = column, .path = AddPath(path), .schema = &meant};
    std::optional<Op> op = writer.type == Type::kNull ? Op::kNull : OpFor(kind, form.coerce, meant);
    if (!op) {
      if (kind == ValueKind::kRfc3339 && meant.type == Type::kLong) return NoZone(meant, column, path);
      return CannotTake(meant, column, path);
    }
    step.op = *op;
    if (step.op == Op::kSymbol) step.arg = AddSymbols(writer, reader);
    return step;
  }

  Result<Step> CompileNested(const Schema& writer, const Schema& reader, ValueKind kind, const arrow::DataType& type,
                             const ValueForm& form, std::uint32_t column, const std::string& path) {
    Step step{.column = column, .path = AddPath(path), .schema = &writer};
    if (kind == ValueKind::kStruct && writer.type == Type::kRecord) {
      step.op = Op::kStruct;
      ASSIGN_OR_RETURN(step.arg, CompileStruct(writer, reader, type, form, column, path));
      return step;
    }
    const bool is_list = kind == ValueKind::kList && writer.type == Type::kArray;
    if (!is_list && !(kind == ValueKind::kMap && writer.type == Type::kMap)) return CannotTake(writer, column, path);
    const auto& inner = is_list ? *type.field(0)->type() : *static_cast<const arrow::MapType&>(type).item_type();
    ASSIGN_OR_RETURN(const Step leaf, CompileLeaf(writer.items(), reader.items(), inner, form, column, path));
    step.op = is_list ? Op::kList : Op::kMap;
    step.arg = AddLeaf(leaf);
    return step;
  }

  Result<std::uint32_t> CompileStruct(const Schema& writer, const Schema& reader, const arrow::DataType& type,
                                      const ValueForm& form, std::uint32_t column, const std::string& path) {
    StructPlan plan;
    std::vector<bool> is_read(static_cast<std::size_t>(type.num_fields()));
    const auto compile = [&](const Schema& from, const Schema& to, int member) -> Result<StructPlan::Part> {
      const arrow::Field& field = *type.field(member);
      ASSIGN_OR_RETURN(const Step leaf, CompileLeaf(from, to, *field.type(), FormOfMember(form, member), column,
                                                    Below(path, field.name())));
      is_read[static_cast<std::size_t>(member)] = true;
      return StructPlan::Part{.leaf = AddLeaf(leaf), .member = static_cast<std::size_t>(member)};
    };
    for (const Field& field : writer.fields) {
      RETURN_NOT_OK(TakePart());
      const Field* const wanted = ReaderField(field, writer, reader);
      const int member = wanted == nullptr ? -1 : MemberOf(type, wanted->name);
      if (member >= 0 && !is_read[static_cast<std::size_t>(member)]) {
        ASSIGN_OR_RETURN(const auto part, compile(*field.type, *wanted->type, member));
        plan.fields.push_back(part);
        continue;
      }
      if (spec_.unknown_fields == UnknownFields::kReject && !in_default_) {
        return InvalidInput(
            "no member of column '{}' takes the field '{}' of the schema, and unknown_fields is 'reject'",
            spec_.columns[column].name, Below(path, field.name));
      }
      has_untaken_members_ = true;
      plan.fields.push_back({.skipped = field.type.get()});
    }
    for (int member = 0; member < type.num_fields(); ++member) {
      if (is_read[static_cast<std::size_t>(member)]) continue;
      const std::string& name = type.field(member)->name();
      const Field* const field = FindField(reader, name);
      if (field == nullptr) {
        std::vector<std::string> names;
        for (const Field& other : reader.fields) names.push_back(other.name);
        return InvalidInput("column '{}': the schema has no field '{}'{}", spec_.columns[column].name,
                            Below(path, name), DidYouMean(name, names));
      }
      if (!field->default_bytes) return HasNoDefault(writer, Below(path, name));
      plan_.defaults.push_back(*field->default_bytes);
      const auto bytes = static_cast<std::uint32_t>(plan_.defaults.size() - 1);
      const bool was_in_default = std::exchange(in_default_, true);
      auto part = compile(*field->type, *field->type, member);
      in_default_ = was_in_default;
      if (!part.ok()) return part.status();
      part->default_bytes = bytes;
      plan.defaults.push_back(*part);
    }
    plan_.structs.push_back(std::move(plan));
    return static_cast<std::uint32_t>(plan_.structs.size() - 1);
  }

  static int MemberOf(const arrow::DataType& type, std::string_view name) {
    for (int i = 0; i < type.num_fields(); ++i) {
      if (type.field(i)->name() == name) return i;
    }
    return -1;
  }

  Status HasNoDefault(const Schema& writer, const std::string& path) const {
    return InvalidInput("field '{}': the writer's {} has none, and the reader has no default for it", path,
                        Describe(writer));
  }

  Status NoZone(const Schema& meant, std::uint32_t column, const std::string& path) const {
    const bool is_local =
        meant.logical >= Logical::kLocalTimestampMillis && meant.logical <= Logical::kLocalTimestampNanos;
    return InvalidInput(
        "column '{}': the field '{}' is {}, which {}; declare timestamp_s, _ms, _us or _ns to read its "
        "number as one since 1970 in UTC",
        spec_.columns[column].name, path, Describe(meant), is_local ? "is of no time zone" : "does not say its unit");
  }

  static std::optional<Op> OpFor(ValueKind kind, bool coerce, const Schema& meant) {
    if (const auto op = ExactOpFor(kind, meant)) return op;
    const bool is_scalar = meant.type < Type::kArray && meant.type != Type::kEnum;
    if (!coerce || !is_scalar) return std::nullopt;
    if (kind == ValueKind::kString) return Op::kFormatted;
    const bool is_bytes = meant.type == Type::kBytes || meant.type == Type::kFixed;
    return is_bytes && meant.logical != Logical::kDecimal ? std::nullopt : std::optional(Op::kByText);
  }

  // Of values that are what the column's type is.
  static std::optional<Op> ExactOpFor(ValueKind kind, const Schema& meant) {
    const Type type = meant.type;
    const Logical logical = meant.logical;
    const bool is_integer = type == Type::kInt || type == Type::kLong;
    switch (kind) {
      case ValueKind::kString:
        if (type == Type::kString || (type == Type::kBytes && logical == Logical::kNone)) return Op::kText;
        if (type == Type::kEnum) return Op::kSymbol;
        if (type == Type::kArray || type == Type::kMap || type == Type::kRecord) return Op::kJson;
        if (type == Type::kFixed || logical != Logical::kNone) return Op::kFormatted;
        return std::nullopt;
      case ValueKind::kUuid:
        if (type == Type::kFixed) return meant.size == 16 ? std::optional(Op::kUuidBytes) : std::nullopt;
        return type == Type::kString ? std::optional(Op::kByText) : std::nullopt;
      case ValueKind::kBinary:
        if (type != Type::kBytes && type != Type::kFixed) return std::nullopt;
        return logical == Logical::kDecimal ? std::nullopt : std::optional(Op::kBytes);
      case ValueKind::kJson:
        return Op::kJson;
      case ValueKind::kTimeFormat:
        return type == Type::kString ? std::optional(Op::kByText) : std::nullopt;
      case ValueKind::kBool:
        return type == Type::kBoolean ? std::optional(Op::kBool) : std::nullopt;
      case ValueKind::kInt32:
        if (!is_integer) return std::nullopt;
        return type == Type::kInt ? Op::kInt32 : Op::kInt32OfLong;
      case ValueKind::kInt64:
        if (!is_integer) return std::nullopt;
        return type == Type::kInt ? Op::kInt64OfInt : Op::kInt64;
      case ValueKind::kDouble:
        if (is_integer) return Op::kDoubleOfLong;
        if (type == Type::kFloat) return Op::kDoubleOfFloat;
        return type == Type::kDouble ? std::optional(Op::kDouble) : std::nullopt;
      case ValueKind::kDecimal:
        if (logical == Logical::kDecimal) return Op::kDecimal;
        if (is_integer) return Op::kDecimalOfLong;
        return type == Type::kString ? std::optional(Op::kDecimalOfText) : std::nullopt;
      case ValueKind::kDate:
        if (logical == Logical::kDate) return Op::kDate;
        return type == Type::kString ? std::optional(Op::kDateOfText) : std::nullopt;
      case ValueKind::kRfc3339:
        if (logical == Logical::kTimestampMillis) return Op::kMillis;
        if (logical == Logical::kTimestampMicros) return Op::kMicros;
        if (logical == Logical::kTimestampNanos) return Op::kNanos;
        return type == Type::kString ? std::optional(Op::kTimestampOfText) : std::nullopt;
      case ValueKind::kSeconds:
        return is_integer ? std::optional(Op::kSeconds) : std::nullopt;
      case ValueKind::kMillis:
        return is_integer ? std::optional(Op::kMillis) : std::nullopt;
      case ValueKind::kMicros:
        return is_integer ? std::optional(Op::kMicros) : std::nullopt;
      case ValueKind::kNanos:
        return is_integer ? std::optional(Op::kNanos) : std::nullopt;
      default:
        return std::nullopt;
    }
  }

  std::uint32_t AddSymbols(const Schema& writer, const Schema& reader) {
    std::vector<std::string_view> symbols;
    for (const std::string& symbol : writer.symbols) {
      if (std::find(reader.symbols.begin(), reader.symbols.end(), symbol) != reader.symbols.end()) {
        symbols.push_back(symbol);
      } else {
        symbols.push_back(reader.default_symbol ? std::string_view(reader.symbols[*reader.default_symbol])
                                                : std::string_view());
      }
    }
    plan_.symbols.push_back(std::move(symbols));
    return static_cast<std::uint32_t>(plan_.symbols.size() - 1);
  }

  const DecodeSpec& spec_;
  Plan& plan_;
  int parts_left_ = kMaxParts;
  bool in_default_ = false;
  bool has_untaken_members_ = false;  // Of structs of the field that is compiled.
};

Result<std::shared_ptr<arrow::DataType>> ColumnTypeOf(const Schema& schema) {
  switch (schema.logical) {
    case Logical::kDecimal:
      if (schema.precision > 38) {
        return InvalidInput("{} has more than 38 digits; declare the columns, with a decimal that its values fit",
                            Describe(schema));
      }
      return arrow::decimal128(schema.precision, schema.scale);
    case Logical::kDate:
      return arrow::date32();
    case Logical::kTimestampMillis:
    case Logical::kTimestampMicros:
    case Logical::kTimestampNanos:
      return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    case Logical::kNone:
      break;
    default:
      return arrow::utf8();
  }
  switch (schema.type) {
    case Type::kBoolean:
      return arrow::boolean();
    case Type::kInt:
      return arrow::int32();
    case Type::kLong:
      return arrow::int64();
    case Type::kFloat:
    case Type::kDouble:
      return arrow::float64();
    case Type::kBytes:
    case Type::kFixed:
      return arrow::binary();
    case Type::kArray: {
      const Schema* const inner = NullableOf(schema.items());
      const Schema& item = inner == nullptr ? schema.items() : *inner;
      const bool is_plain = item.type < Type::kArray && item.type != Type::kNull;
      if (!is_plain) return arrow::utf8();
      ASSIGN_OR_RETURN(auto element, ColumnTypeOf(item));
      return arrow::list(arrow::field("element", std::move(element)));
    }
    case Type::kUnion: {
      const Schema* const inner = NullableOf(schema);
      return inner == nullptr ? Result<std::shared_ptr<arrow::DataType>>(arrow::utf8()) : ColumnTypeOf(*inner);
    }
    default:
      return arrow::utf8();
  }
}

// Bytes are rescued as a text of characters, which is what their column has then: read as a binary column's text, which
// is base64, it would be other bytes.
bool HasBytes(const arrow::DataType& type) {
  return type.id() == arrow::Type::BINARY ||
         std::any_of(type.fields().begin(), type.fields().end(), [](const auto& f) { return HasBytes(*f->type()); });
}

}  // namespace

const ColumnTree* ColumnTree::Find(std::string_view name) const {
  const auto found =
      std::find_if(children.begin(), children.end(), [&](const auto& child) { return child.first == name; });
  return found == children.end() ? nullptr : &found->second;
}

ColumnTree* ColumnTree::Find(std::string_view name) { return const_cast<ColumnTree*>(std::as_const(*this).Find(name)); }

Result<ColumnTree> MakeColumnTree(const std::vector<ColumnSpec>& columns) {
  ColumnTree root;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::vector<std::string> path =
        columns[i].path.empty() ? std::vector<std::string>{columns[i].name} : columns[i].path;
    if (path.size() > kMaxSchemaDepth) return InvalidInput("column '{}': its path is too long", columns[i].name);
    ColumnTree* node = &root;
    bool is_free = true;
    for (const std::string& name : path) {
      is_free = is_free && node->columns.empty();
      if (node->Find(name) == nullptr) node->children.emplace_back(name, ColumnTree());
      node = node->Find(name);
    }
    if (!is_free || !node->children.empty()) {
      return InvalidInput("column '{}': its path '{}' goes through the field of another column", columns[i].name,
                          fmt::join(path, "."));
    }
    node->columns.push_back(static_cast<std::uint32_t>(i));
  }
  return root;
}

Result<std::unique_ptr<const Plan>> CompilePlan(SchemaPtr writer, SchemaPtr reader, const DecodeSpec& spec,
                                                const ColumnTree& columns) {
  auto plan = std::make_unique<Plan>();
  plan->schemas = {writer, reader};
  RETURN_NOT_OK(Compiler(spec, *plan).CompileRoot(*writer, *reader, columns));
  return std::unique_ptr<const Plan>(std::move(plan));
}

void DeclareFields(const Schema& record, DeclaredFields& declared) {
  for (const Field& field : record.fields) {
    auto type = ColumnTypeOf(*field.type);
    if (type.ok() && !HasBytes(**type)) declared.Add(field.name, *std::move(type));
  }
}

Result<std::vector<ColumnSpec>> ColumnsOf(const Schema& reader) {
  if (reader.type != Type::kRecord) {
    return InvalidInput("events are records, and the schema is a {}", Describe(reader));
  }
  std::vector<ColumnSpec> columns;
  for (const Field& field : reader.fields) {
    auto type = ColumnTypeOf(*field.type);
    if (!type.ok()) return WithContext(type.status(), "field '{}'", field.name);
    columns.push_back({.name = field.name, .type = *std::move(type), .path = {field.name}});
  }
  return columns;
}

}  // namespace millrace::ingest::avro
