// Columns that are structs, lists and maps, and what is in them: filled from all occurrences of a field in the record.
#include <fmt/format.h>

#include "ingest/protobuf/protobuf_decoder_internal.h"

namespace millrace::ingest::protobuf {

using google::protobuf::FieldDescriptor;

bool ProtobufDecoder::Fill(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                           std::int64_t row) {
  column.SetValid(row);
  switch (plan.shape) {
    case NestedPlan::Shape::kLeaf:
      return FillLeaf(plan, values, column, row);
    case NestedPlan::Shape::kText:
      return FillText(plan, values, column, row);
    case NestedPlan::Shape::kList:
      return FillList(plan, values, column, row);
    case NestedPlan::Shape::kMap:
      return FillMap(plan, values, column, row);
    case NestedPlan::Shape::kStruct:
      return FillStruct(plan, values, column, row);
  }
  return false;
}

bool ProtobufDecoder::FillLeaf(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                               std::int64_t row) {
  const FieldPlan& field = plan.field;
  const Target& target = field.targets.front();
  Scalar scalar;
  if (values.empty()) {
    if (plan.absence.kind != Absence::Kind::kValue) return Check(column.SetNull(row));
    scalar.bits = plan.absence.bits;
    scalar.text = plan.absence.text;
    return StoreOne(field, target, column, row, scalar, nullptr);
  }
  for (const WireValue& value : values) {
    if (value.wire != field.wire) return FailWire(field, value.wire, value.begin) != nullptr;
  }
  const WireValue& last = values.back();
  switch (field.shape) {
    case FieldPlan::Shape::kNumber:
      if (ReadNumber(reader_, field.type, last.begin, last.end, &scalar.bits) == nullptr) return false;
      break;
    case FieldPlan::Shape::kText:
      scalar.text = last.bytes();
      if (target.empty_is_null && scalar.text.empty()) return Check(column.SetNull(row));
      break;
    case FieldPlan::Shape::kMoment:
      for (const WireValue& value : values) {
        if (ReadMoment(reader_, value.bytes(), field.depth + 1, field.path, &scalar.moment) == nullptr) return false;
      }
      break;
    default: {
      bool is_there = false;  // A wrapper without its value has the default.
      for (const WireValue& value : values) {
        if (!ReadWrapped(field, value.bytes(), &scalar, &is_there)) return false;
      }
    }
  }
  return StoreOne(field, target, column, row, scalar, last.begin);
}

bool ProtobufDecoder::FillText(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                               std::int64_t row) {
  const FieldDescriptor& field = *plan.field.field;
  if (values.empty() && !field.is_repeated()) return Check(column.SetNull(row));
  const auto* const message = field.message_type();
  const bool has_string_form = !field.is_repeated() && message != nullptr && MessageText::HasStringForm(*message);
  std::string text;
  if (!(has_string_form && !plan.is_json ? text_.AppendStringForm(field, values, plan.field.depth, &text)
                                         : text_.AppendField(field, values, plan.field.depth, &text))) {
    return false;
  }
  return StoreText(column, row, text);
}

bool ProtobufDecoder::FillList(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                               std::int64_t row) {
  const NestedPlan& inner = plan.inner.front();
  const FieldPlan& field = inner.field;
  Column& element = column.element();
  std::int64_t at = column.list_begin(row);
  column.SetListEnd(row, at);
  const auto add = [&](const auto& fill) {
    if (at == kMaxElements) return Check(Status::CapacityError("a list column of one batch is full"));
    if (!Check(element.EnsureRow(at)) || !fill()) return false;
    column.SetListEnd(row, ++at);
    const bool is_name = inner.shape == NestedPlan::Shape::kLeaf && field.targets.front().store == Store::kEnumName;
    return !is_name || CheckListText(field, column, row, values.front().begin);
  };
  for (const WireValue& value : values) {
    const bool is_packed = value.wire == Wire::kBytes && field.field->is_packable();
    if (!is_packed || inner.shape != NestedPlan::Shape::kLeaf) {
      if (!add([&] { return Fill(inner, {&value, 1}, element, at); })) return false;
      continue;
    }
    for (const char* p = value.begin; p != value.end;) {
      const char* const begin = p;
      Scalar scalar;
      p = ReadNumber(reader_, field.type, p, value.end, &scalar.bits);
      if (p == nullptr) return false;
      if (!add([&] {
            element.SetValid(at);
            return StoreOne(field, field.targets.front(), element, at, scalar, begin);
          })) {
        return false;
      }
    }
  }
  return true;
}

bool ProtobufDecoder::FillMap(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                              std::int64_t row) {
  if (!FillEntries(plan, values, column, row, {})) return false;
  const auto repeated = RepeatedKeys(column, row);
  return repeated.empty() || FillEntries(plan, values, column, row, repeated);
}

bool ProtobufDecoder::FillEntries(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                                  std::int64_t row, const std::vector<std::int64_t>& dropped) {
  static constexpr const char* kNothing = "";
  auto next_dropped = dropped.begin();
  std::int64_t at = column.list_begin(row);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (next_dropped != dropped.end() && *next_dropped == static_cast<std::int64_t>(i)) {
      ++next_dropped;
      continue;
    }
    if (values[i].wire != Wire::kBytes) return FailWire(plan.field, values[i].wire, values[i].begin) != nullptr;
    std::vector<std::vector<WireValue>> entry(plan.inner.size());
    if (!SplitMessage(plan, values[i].bytes(), &entry)) return false;
    if (entry[1].empty() && plan.inner[1].field.wire == Wire::kBytes &&
        plan.inner[1].field.field->message_type() != nullptr) {
      entry[1].push_back({.number = 2, .wire = Wire::kBytes, .begin = kNothing, .end = kNothing});
    }
    if (!Check(column.map_key().EnsureRow(at)) || !Check(column.map_value().EnsureRow(at)) ||
        !Fill(plan.inner[0], entry[0], column.map_key(), at) ||
        !Fill(plan.inner[1], entry[1], column.map_value(), at)) {
      return false;
    }
    ++at;
  }
  column.SetListEnd(row, at);
  return true;
}

bool ProtobufDecoder::FillStruct(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                                 std::int64_t row) {
  if (values.empty()) return Check(column.SetNull(row));
  std::vector<std::vector<WireValue>> members(plan.inner.size());
  for (const WireValue& value : values) {
    if (value.wire != Wire::kBytes) return FailWire(plan.field, value.wire, value.begin) != nullptr;
    if (!SplitMessage(plan, value.bytes(), &members)) return false;
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (!Fill(plan.inner[i], members[i], column.member(i), row)) return false;
  }
  return true;
}

// Adds the occurrences of each of plan.inner in the message. A member of a oneof takes the place of the others.
bool ProtobufDecoder::SplitMessage(const NestedPlan& plan, std::string_view message,
                                   std::vector<std::vector<WireValue>>* members) {
  const int depth = plan.field.depth + 1;
  const char* const end = message.data() + message.size();
  for (const char* p = message.data(); p != end;) {
    const char* const at = p;
    Tag tag;
    p = reader_.ReadTag(p, end, &tag);
    if (p == nullptr) return false;
    WireValue value;
    p = reader_.ReadValue(tag, p, end, depth, &value);
    if (p == nullptr) return false;
    const FieldDescriptor* const field =
        plan.field.field->message_type()->FindFieldByNumber(static_cast<int>(tag.number));
    const auto* const oneof = field == nullptr ? nullptr : field->real_containing_oneof();
    bool is_taken = false;
    for (std::size_t i = 0; i < plan.inner.size(); ++i) {
      const FieldDescriptor* const member = plan.inner[i].field.field;
      if (member == field) {
        is_taken = true;
        (*members)[i].push_back(value);
      } else if (oneof != nullptr && member->real_containing_oneof() == oneof) {
        (*members)[i].clear();
      }
    }
    if (is_taken) continue;
    has_unknown_members_ = true;
    if (!rejects_) continue;
    reader_.Fail("unknown_field", at,
                 field == nullptr ? fmt::format("'{}' has no field {}", plan.field.path, tag.number)
                                  : fmt::format("field '{}.{}' is not declared", plan.field.path, field->name()));
    return false;
  }
  return true;
}

bool ProtobufDecoder::ReadWrapped(const FieldPlan& field, std::string_view message, Scalar* scalar, bool* is_there) {
  const char* const end = message.data() + message.size();
  for (const char* p = message.data(); p != end;) {
    const char* const at = p;
    Tag tag;
    p = reader_.ReadTag(p, end, &tag);
    if (p == nullptr) return false;
    if (tag.number != 1) {
      WireValue skipped;
      p = reader_.ReadValue(tag, p, end, field.depth + 1, &skipped);
    } else if (tag.wire != WireOf(field.type)) {
      return FailWire(field, tag.wire, at) != nullptr;
    } else {
      *is_there = true;
      p = tag.wire == Wire::kBytes ? reader_.ReadBytes(p, end, &scalar->text)
                                   : ReadNumber(reader_, field.type, p, end, &scalar->bits);
    }
    if (p == nullptr) return false;
  }
  return true;
}

}  // namespace millrace::ingest::protobuf
