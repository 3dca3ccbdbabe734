#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "base/nearest_name.h"
#include "ingest/protobuf/plan_internal.h"
#include "ingest/values/column_internal.h"

namespace millrace::ingest::protobuf {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// The kinds of values that fields have, as columns see them.
enum class Content { kBool, kInteger, kReal, kText, kBytes, kEnum, kTimestamp, kDuration, kWhole };

struct Leaf {
  FieldPlan::Shape shape;
  Content content;
  FieldType type;
  const google::protobuf::EnumDescriptor* enum_type = nullptr;
};

Content ContentOf(FieldType type) {
  switch (type) {
    case FieldDescriptor::TYPE_BOOL:
      return Content::kBool;
    case FieldDescriptor::TYPE_FLOAT:
    case FieldDescriptor::TYPE_DOUBLE:
      return Content::kReal;
    case FieldDescriptor::TYPE_STRING:
      return Content::kText;
    case FieldDescriptor::TYPE_BYTES:
      return Content::kBytes;
    case FieldDescriptor::TYPE_ENUM:
      return Content::kEnum;
    case FieldDescriptor::TYPE_MESSAGE:
    case FieldDescriptor::TYPE_GROUP:
      return Content::kWhole;
    default:
      return Content::kInteger;
  }
}

// One value of the field.
Leaf LeafOf(const FieldDescriptor& field) {
  using Shape = FieldPlan::Shape;
  const FieldType type = field.type();
  if (field.is_map() || type == FieldDescriptor::TYPE_GROUP) return {Shape::kWhole, Content::kWhole, type};
  if (type != FieldDescriptor::TYPE_MESSAGE) {
    return {IsNumber(type) ? Shape::kNumber : Shape::kText, ContentOf(type), type,
            type == FieldDescriptor::TYPE_ENUM ? field.enum_type() : nullptr};
  }
  switch (field.message_type()->well_known_type()) {
    case Descriptor::WELLKNOWNTYPE_TIMESTAMP:
      return {Shape::kMoment, Content::kTimestamp, type};
    case Descriptor::WELLKNOWNTYPE_DURATION:
      return {Shape::kMoment, Content::kDuration, type};
    case Descriptor::WELLKNOWNTYPE_DOUBLEVALUE:
    case Descriptor::WELLKNOWNTYPE_FLOATVALUE:
    case Descriptor::WELLKNOWNTYPE_INT64VALUE:
    case Descriptor::WELLKNOWNTYPE_UINT64VALUE:
    case Descriptor::WELLKNOWNTYPE_INT32VALUE:
    case Descriptor::WELLKNOWNTYPE_UINT32VALUE:
    case Descriptor::WELLKNOWNTYPE_STRINGVALUE:
    case Descriptor::WELLKNOWNTYPE_BYTESVALUE:
    case Descriptor::WELLKNOWNTYPE_BOOLVALUE: {
      const FieldType value = field.message_type()->field(0)->type();
      return {Shape::kWrapper, ContentOf(value), value};
    }
    default:
      return {Shape::kWhole, Content::kWhole, type};
  }
}

// How a field is called in messages: "a double", "repeated string", "map<string, int64>", "fleet.v1.Geo".
std::string TypeText(const FieldDescriptor& field) {
  const auto single = [](const FieldDescriptor& one) -> std::string {
    if (one.message_type() != nullptr) return one.message_type()->full_name();
    if (one.enum_type() != nullptr) return one.enum_type()->full_name();
    return one.type_name();
  };
  if (field.is_map()) {
    return fmt::format("map<{}, {}>", single(*field.message_type()->map_key()),
                       single(*field.message_type()->map_value()));
  }
  return (field.is_repeated() ? "repeated " : "") + single(field);
}

// Of values that are what the column's type is.
std::optional<Store> ExactStoreFor(Content content, ValueKind kind) {
  const bool is_epoch = kind == ValueKind::kSeconds || kind == ValueKind::kMillis || kind == ValueKind::kMicros ||
                        kind == ValueKind::kNanos;
  switch (content) {
    case Content::kBool:
      if (kind == ValueKind::kBool) return Store::kBool;
      break;
    case Content::kEnum:
      if (kind == ValueKind::kString) return Store::kEnumName;
      if (kind == ValueKind::kInt32) return Store::kInt32;
      if (kind == ValueKind::kInt64) return Store::kInt64;
      break;
    case Content::kInteger:
      if (kind == ValueKind::kInt32) return Store::kInt32;
      if (kind == ValueKind::kInt64) return Store::kInt64;
      if (kind == ValueKind::kDouble) return Store::kWholeDouble;
      if (kind == ValueKind::kDecimal) return Store::kWholeDecimal;
      if (is_epoch) return Store::kWholeEpoch;
      break;
    case Content::kReal:
      if (kind == ValueKind::kDouble) return Store::kDouble;
      if (kind == ValueKind::kDecimal) return Store::kRealDecimal;
      if (is_epoch) return Store::kRealEpoch;
      break;
    case Content::kText:
      if (kind == ValueKind::kString) return Store::kText;
      if (kind == ValueKind::kDecimal) return Store::kTextDecimal;
      if (kind == ValueKind::kDate) return Store::kTextDate;
      if (kind == ValueKind::kRfc3339) return Store::kTextTime;
      if (kind == ValueKind::kTimeFormat || kind == ValueKind::kUuid) return Store::kByText;
      break;
    case Content::kBytes:
      if (kind == ValueKind::kBinary) return Store::kBytes;
      if (kind == ValueKind::kUuid) return Store::kUuidBytes;
      if (kind == ValueKind::kString) return Store::kBase64;
      break;
    case Content::kTimestamp:
      if (kind == ValueKind::kRfc3339) return Store::kTimestamp;
      break;
    case Content::kDuration:
      if (kind == ValueKind::kDouble) return Store::kDurationDouble;
      if (kind == ValueKind::kDecimal) return Store::kDurationDecimal;
      break;
    case Content::kWhole:
      break;
  }
  return std::nullopt;
}

std::optional<Store> StoreFor(Content content, ValueKind kind, bool coerce) {
  const auto exact = ExactStoreFor(content, kind);
  if (exact || !coerce || kind < ValueKind::kString) return exact;
  const bool has_text = content == Content::kBool || content == Content::kInteger || content == Content::kReal ||
                        content == Content::kText;
  return has_text ? std::optional(Store::kByText) : std::nullopt;
}

// What to write instead, for a message.
std::string_view TypesFor(const FieldDescriptor& field) {
  if (field.is_map()) return "string (JSON)";
  switch (LeafOf(field).content) {
    case Content::kBool:
      return "bool";
    case Content::kEnum:
      return "string (names), int32, int64";
    case Content::kInteger:
      return "int32, int64, double, decimal, timestamp_s, timestamp_ms, timestamp_us, timestamp_ns";
    case Content::kReal:
      return "double, decimal, timestamp_s, timestamp_ms, timestamp_us, timestamp_ns";
    case Content::kText:
      return "string, uuid, decimal, date, timestamp";
    case Content::kBytes:
      return "binary, uuid, string (base64)";
    case Content::kTimestamp:
      return "timestamp, string";
    case Content::kDuration:
      return "decimal, double (seconds), string";
    case Content::kWhole:
      break;
  }
  return "string (JSON)";
}

const FieldDescriptor* FindField(const Descriptor& message, const std::string& name) {
  if (const FieldDescriptor* const field = message.FindFieldByName(name); field != nullptr) return field;
  for (int i = 0; i < message.field_count(); ++i) {
    if (message.field(i)->json_name() == name) return message.field(i);
  }
  return nullptr;
}

std::string NearestField(const Descriptor& message, const std::string& name) {
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) names.push_back(message.field(i)->name());
  return DidYouMean(name, names);
}

class Planner {
 public:
  Planner(const Descriptor& message, const std::vector<ColumnSpec>& columns) : columns_(columns) {
    AddMessage(message, "", 1);
  }

  Result<Plan> Make() {
    plan_.absences.resize(columns_.size());
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      RETURN_NOT_OK(WithContext(AddColumn(columns_[i], i), "column '{}'", columns_[i].name));
    }
    plan_.none.assign((columns_.size() + plan_.messages.size() + 63) / 64, 0);
    plan_.all_columns = plan_.none;
    for (std::size_t i = 0; i < columns_.size(); ++i) Bit::Of(i).Set(plan_.all_columns);
    for (MessagePlan& message : plan_.messages) {
      AddRivals(message);
      Index(message);
      for (FieldPlan& field : message.fields) {
        if (!field.texts.empty()) plan_.with_texts.push_back(&field);
        for (const Target& target : field.targets) plan_.absences[target.column].target = &target;
      }
    }
    return std::move(plan_);
  }

 private:
  MessagePlan& AddMessage(const Descriptor& message, std::string path, int depth) {
    MessagePlan& added = plan_.messages.emplace_back();
    added.message = &message;
    added.path = std::move(path);
    added.depth = depth;
    // Bits of messages come after those of columns.
    added.seen = Bit::Of(columns_.size() + plan_.messages.size() - 1);
    return added;
  }

  static FieldPlan& FieldOf(MessagePlan& message, const FieldDescriptor& field) {
    for (FieldPlan& known : message.fields) {
      if (known.field == &field) return known;
    }
    FieldPlan& added = message.fields.emplace_back();
    added.field = &field;
    added.path = message.path + field.name();
    added.wire = WireOf(field.type());
    added.type = field.type();
    added.depth = message.depth;
    return added;
  }

  Status AddColumn(const ColumnSpec& column, std::size_t index) {
    MessagePlan* message = &plan_.messages.front();
    TakenFields* taken = &plan_.taken;
    const std::vector<std::string> path = column.path.empty() ? std::vector<std::string>{column.name} : column.path;
    for (std::size_t level = 0;; ++level) {
      const FieldDescriptor* const field = FindField(*message->message, path[level]);
      if (field == nullptr) {
        return InvalidInput("{} has no field '{}'{}", message->message->full_name(), path[level],
                            NearestField(*message->message, path[level]));
      }
      FieldPlan& plan = FieldOf(*message, *field);
      plan.taken_in = taken == &plan_.taken ? nullptr : taken;
      const auto number = static_cast<std::uint32_t>(field->number());
      const auto known = taken->fields.find(number);
      const bool last = level + 1 == path.size();
      // Whole and in part, in whatever order the columns are.
      if (known != taken->fields.end() && (known->second == nullptr) != last) {
        return InvalidInput("the path {} goes through the field of another column, or is a part of its path",
                            fmt::join(path, "."));
      }
      if (last) {
        taken->fields[number] = nullptr;
        return AddLeaf(column, index, *message, plan);
      }
      if (field->is_repeated() || field->type() != FieldDescriptor::TYPE_MESSAGE) {
        return InvalidInput("the path {} goes through '{}', which is {}, no single message; {}", fmt::join(path, "."),
                            plan.path, TypeText(*field),
                            field->is_repeated() || field->type() == FieldDescriptor::TYPE_GROUP
                                ? fmt::format("take it whole as {}", TypesFor(*field))
                                : "end the path there");
      }
      if (plan.inner == nullptr) {
        if (message->depth == kMaxMessageDepth) return InvalidInput("a path of more than {} parts", kMaxMessageDepth);
        plan.shape = FieldPlan::Shape::kInner;
        plan.inner = &AddMessage(*field->message_type(), plan.path + ".", message->depth + 1);
        taken->fields[number] = std::make_unique<TakenFields>();
      }
      taken = taken->fields[number].get();
      message = plan.inner;
    }
  }

  Status AddLeaf(const ColumnSpec& column, std::size_t index, const MessagePlan& message, FieldPlan& plan) {
    const FieldDescriptor& field = *plan.field;
    const Leaf leaf = LeafOf(field);
    ASSIGN_OR_RETURN(const ValueKind kind, KindOfColumn(*column.type, column.form));
    Absence& absence = plan_.absences[index];
    absence.message = message.seen;
    absence.field = &plan;
    const bool is_list = kind == ValueKind::kList;
    std::optional<Store> store;
    if (is_list == (field.is_repeated() && !field.is_map())) {
      ValueKind element = kind;
      if (is_list) {
        ASSIGN_OR_RETURN(element,
                         KindOfColumn(*static_cast<const arrow::ListType&>(*column.type).value_type(), column.form));
      }
      store = StoreFor(leaf.content, element, column.form.coerce);
    }
    if (!store && (kind == ValueKind::kString || kind == ValueKind::kJson) &&
        field.type() != FieldDescriptor::TYPE_GROUP &&
        (leaf.shape == FieldPlan::Shape::kWhole || leaf.shape == FieldPlan::Shape::kMoment || field.is_repeated())) {
      if (plan.shape == FieldPlan::Shape::kUntaken) plan.shape = FieldPlan::Shape::kWhole;
      plan.texts.push_back({index, Bit::Of(index), kind == ValueKind::kJson});
      if (field.is_repeated()) {
        absence.kind = Absence::Kind::kEmptyText;
        absence.text = field.is_map() ? "{}" : "[]";
      }
      return Status::OK();
    }
    if (!store && kind < ValueKind::kString) {
      ASSIGN_OR_RETURN(auto nested, MakeNested(field, *column.type, column.form, plan.path, plan.depth, false));
      if (plan.shape == FieldPlan::Shape::kUntaken) plan.shape = FieldPlan::Shape::kWhole;
      plan.texts.push_back({index, Bit::Of(index), false, std::make_shared<const NestedPlan>(std::move(nested))});
      if (field.is_repeated()) absence.kind = Absence::Kind::kEmptyList;
      return Status::OK();
    }
    if (!store) {
      if (field.type() == FieldDescriptor::TYPE_GROUP)
        return InvalidInput("'{}' is a group, which no column takes", plan.path);
      const bool as_list = field.is_repeated() && !field.is_map() && leaf.content != Content::kWhole;
      return InvalidInput("'{}' is {}, which is no {}; types that take it: {}{}", plan.path, TypeText(field),
                          TypeName(*column.type, column.form), as_list ? "list of " : "", TypesFor(field));
    }
    plan.shape = leaf.shape;
    plan.type = leaf.type;
    plan.enum_type = leaf.enum_type;
    plan.is_list = is_list;
    plan.targets.push_back({.column = index, .store = *store, .seen = Bit::Of(index)});
    if (is_list) {
      absence.kind = Absence::Kind::kEmptyList;
    } else if (leaf.shape == FieldPlan::Shape::kNumber || leaf.shape == FieldPlan::Shape::kText) {
      SetDefault(field, plan, absence);
    }
    return Status::OK();
  }

  // `is_one`: of one value of a repeated field.
  static Result<NestedPlan> MakeNested(const FieldDescriptor& field, const arrow::DataType& type, const ValueForm& form,
                                       const std::string& path, int depth, bool is_one) {
    NestedPlan nested;
    nested.field.field = &field;
    nested.field.path = path;
    nested.field.wire = WireOf(field.type());
    nested.field.type = field.type();
    nested.field.depth = depth;
    ASSIGN_OR_RETURN(const ValueKind kind, KindOfColumn(type, form));
    const Leaf leaf = LeafOf(field);
    const bool is_list = field.is_repeated() && !field.is_map() && !is_one;
    if (field.is_map() && kind == ValueKind::kMap) {
      nested.shape = NestedPlan::Shape::kMap;
      ValueForm key;
      key.coerce = true;
      const auto& entry = *field.message_type();
      ASSIGN_OR_RETURN(nested.inner.emplace_back(),
                       MakeNested(*entry.map_key(), *arrow::utf8(), key, path, depth + 1, false));
      ASSIGN_OR_RETURN(nested.inner.emplace_back(),
                       MakeNested(*entry.map_value(), *static_cast<const arrow::MapType&>(type).item_type(), form, path,
                                  depth + 1, false));
      for (NestedPlan& inner : nested.inner) SetZero(inner);
      return nested;
    }
    if (is_list && kind == ValueKind::kList) {
      nested.shape = NestedPlan::Shape::kList;
      ASSIGN_OR_RETURN(nested.inner.emplace_back(), MakeNested(field, *type.field(0)->type(), form, path, depth, true));
      return nested;
    }
    const bool is_message = field.type() == FieldDescriptor::TYPE_MESSAGE && !field.is_map();
    if (is_message && !is_list && kind == ValueKind::kStruct) {
      nested.shape = NestedPlan::Shape::kStruct;
      for (int i = 0; i < type.num_fields(); ++i) {
        const std::string& name = type.field(i)->name();
        const FieldDescriptor* const member = FindField(*field.message_type(), name);
        if (member == nullptr) {
          return InvalidInput("{} has no field '{}'{}", field.message_type()->full_name(), name,
                              NearestField(*field.message_type(), name));
        }
        ASSIGN_OR_RETURN(nested.inner.emplace_back(), MakeNested(*member, *type.field(i)->type(), FormOfMember(form, i),
                                                                 path + "." + member->name(), depth + 1, false));
      }
      return nested;
    }
    const auto store = is_list || field.is_map() ? std::nullopt : StoreFor(leaf.content, kind, form.coerce);
    if (store) {
      nested.field.shape = leaf.shape;
      nested.field.type = leaf.type;
      nested.field.enum_type = leaf.enum_type;
      nested.field.targets.push_back({.store = *store});
      if (!is_one && (leaf.shape == FieldPlan::Shape::kNumber || leaf.shape == FieldPlan::Shape::kText)) {
        SetDefault(field, nested.field, nested.absence);
      }
      return nested;
    }
    const bool is_text = kind == ValueKind::kString || kind == ValueKind::kJson;
    if (is_text && field.type() != FieldDescriptor::TYPE_GROUP &&
        (leaf.shape == FieldPlan::Shape::kWhole || leaf.shape == FieldPlan::Shape::kMoment || is_list)) {
      nested.shape = NestedPlan::Shape::kText;
      nested.is_json = kind == ValueKind::kJson;
      return nested;
    }
    return InvalidInput("'{}' is {}, which is no {}; types that take it: {}{}", path, TypeText(field),
                        TypeName(type, form), is_list && leaf.content != Content::kWhole ? "list of " : "",
                        TypesFor(field));
  }

  // What an entry of a map has that does not say it, in proto2 too.
  static void SetZero(NestedPlan& nested) {
    const FieldPlan& field = nested.field;
    const bool is_scalar = field.shape == FieldPlan::Shape::kNumber || field.shape == FieldPlan::Shape::kText;
    if (nested.shape != NestedPlan::Shape::kLeaf || !is_scalar || nested.field.targets.back().empty_is_null) return;
    nested.absence.kind = Absence::Kind::kValue;
    if (field.enum_type != nullptr) {
      nested.absence.bits = static_cast<std::uint64_t>(field.field->default_value_enum()->number());
    }
  }

  // Of a single scalar: null where the record tells absence from zero, unless the schema names a default.
  static void SetDefault(const FieldDescriptor& field, FieldPlan& plan, Absence& absence) {
    Target& target = plan.targets.back();
    if (field.has_presence() && !field.has_default_value()) return;
    if (!field.has_presence() &&
        (target.store == Store::kTextDecimal || target.store == Store::kTextDate || target.store == Store::kTextTime ||
         target.store == Store::kUuidBytes ||
         (target.store == Store::kByText && field.cpp_type() == FieldDescriptor::CPPTYPE_STRING))) {
      target.empty_is_null = true;
      return;
    }
    absence.kind = Absence::Kind::kValue;
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        absence.bits = static_cast<std::uint64_t>(field.default_value_int32());
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        absence.bits = static_cast<std::uint64_t>(field.default_value_int64());
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        absence.bits = field.default_value_uint32();
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        absence.bits = field.default_value_uint64();
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        absence.bits = std::bit_cast<std::uint64_t>(field.default_value_double());
        break;
      case FieldDescriptor::CPPTYPE_FLOAT:
        absence.bits = std::bit_cast<std::uint32_t>(field.default_value_float());
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        absence.bits = field.default_value_bool() ? 1 : 0;
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        absence.bits = static_cast<std::uint64_t>(field.default_value_enum()->number());
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        absence.text = field.default_value_string();
        break;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        break;
    }
  }

  void AddBits(const FieldPlan& field, Bits* bits) const {
    for (const Target& target : field.targets) target.seen.Set(*bits);
    for (const TextTarget& target : field.texts) target.seen.Set(*bits);
    if (field.inner == nullptr) return;
    field.inner->seen.Set(*bits);
    for (const FieldPlan& inner : field.inner->fields) AddBits(inner, bits);
  }

  // A member of a oneof takes the place of the others, also one that no column takes.
  void AddRivals(MessagePlan& message) {
    for (int i = 0; i < message.message->real_oneof_decl_count(); ++i) {
      const auto& oneof = *message.message->oneof_decl(i);
      const auto is_member = [&](const FieldPlan& plan) { return plan.field->real_containing_oneof() == &oneof; };
      if (std::none_of(message.fields.begin(), message.fields.end(), is_member)) continue;
      for (int member = 0; member < oneof.field_count(); ++member) FieldOf(message, *oneof.field(member));
      for (FieldPlan& field : message.fields) {
        if (!is_member(field)) continue;
        Bits rivals = plan_.none;
        for (const FieldPlan& other : message.fields) {
          if (&other != &field && is_member(other)) AddBits(other, &rivals);
        }
        if (rivals != plan_.none) field.rivals = std::move(rivals);
      }
    }
  }

  static FieldPlan::Direct DirectOf(const FieldPlan& field) {
    using Shape = FieldPlan::Shape;
    using Direct = FieldPlan::Direct;
    if (field.is_list || !field.texts.empty() || !field.rivals.empty()) return Direct::kNo;
    if (field.shape == Shape::kInner) return Direct::kInner;
    if (field.targets.size() != 1 || field.shape == Shape::kWrapper) return Direct::kNo;
    const Store store = field.targets[0].store;
    if (field.shape == Shape::kText && store == Store::kText) return Direct::kText;
    if (field.type == FieldDescriptor::TYPE_INT64 && store == Store::kInt64) return Direct::kInt64;
    if (field.type == FieldDescriptor::TYPE_DOUBLE && store == Store::kDouble) return Direct::kDouble;
    if (field.shape == Shape::kMoment && store == Store::kTimestamp) return Direct::kTimestamp;
    if (field.shape == Shape::kText && store == Store::kTextDecimal) return Direct::kTextDecimal;
    return Direct::kOther;
  }

  static void Index(MessagePlan& message) {
    constexpr std::size_t kManyByteTags = 128;  // From here on.
    for (FieldPlan& field : message.fields) {
      const auto number = static_cast<std::uint32_t>(field.field->number());
      field.direct = DirectOf(field);
      if (!field.targets.empty()) field.target = field.targets[0];
      const std::size_t tag = number << 3 | static_cast<std::uint32_t>(field.wire);
      if (field.direct != FieldPlan::Direct::kNo && tag < kManyByteTags) message.by_tag[tag] = &field;
      if (number >= MessagePlan::kIndexed) {
        message.large_numbers.emplace_back(number, &field);
      } else {
        if (message.by_number.size() <= number) message.by_number.resize(number + 1);
        message.by_number[number] = &field;
      }
    }
    std::sort(message.large_numbers.begin(), message.large_numbers.end());
  }

  const std::vector<ColumnSpec>& columns_;
  Plan plan_;
};

std::shared_ptr<arrow::DataType> TypeOf(const Leaf& leaf) {
  switch (leaf.content) {
    case Content::kBool:
      return arrow::boolean();
    case Content::kInteger:
      switch (leaf.type) {
        case FieldDescriptor::TYPE_INT32:
        case FieldDescriptor::TYPE_SINT32:
        case FieldDescriptor::TYPE_SFIXED32:
          return arrow::int32();
        case FieldDescriptor::TYPE_UINT64:
        case FieldDescriptor::TYPE_FIXED64:
          return arrow::decimal128(20, 0);
        default:
          return arrow::int64();
      }
    case Content::kReal:
      return arrow::float64();
    case Content::kTimestamp:
      return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    case Content::kDuration:
      return arrow::decimal128(21, 9);
    case Content::kText:
    case Content::kBytes:
    case Content::kEnum:
    case Content::kWhole:
      break;
  }
  return arrow::utf8();
}

}  // namespace

FieldPlan* MessagePlan::FindLarge(std::uint32_t number) const {
  const auto found = std::lower_bound(large_numbers.begin(), large_numbers.end(), number,
                                      [](const auto& one, std::uint32_t wanted) { return one.first < wanted; });
  return found != large_numbers.end() && found->first == number ? found->second : nullptr;
}

Result<Plan> MakePlan(const Descriptor& message, const std::vector<ColumnSpec>& columns) {
  return Planner(message, columns).Make();
}

Result<std::vector<ColumnSpec>> ColumnsOf(const Descriptor& message) {
  std::vector<ColumnSpec> columns;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    if (field.type() == FieldDescriptor::TYPE_GROUP) continue;
    const Leaf leaf = LeafOf(field);
    std::shared_ptr<arrow::DataType> type = TypeOf(leaf);
    if (field.is_repeated() && leaf.content != Content::kWhole) type = arrow::list(arrow::field("element", type));
    columns.push_back({.name = field.name(), .type = std::move(type), .path = {field.name()}});
  }
  if (columns.empty()) return InvalidInput("{} has no fields", message.full_name());
  return columns;
}

}  // namespace millrace::ingest::protobuf
