#include <arrow/compute/api.h>

#include <utility>

#include "delta/data/nested_levels_internal.h"

namespace millrace::delta {
namespace {

// The fields right below one: members, elements, or a map's keys and values.
arrow::FieldVector InnerFields(const arrow::DataType& type) {
  return type.id() == arrow::Type::MAP ? type.field(0)->type()->fields() : type.fields();
}

class Taker {
 public:
  Status Take(const arrow::Field& field, const std::shared_ptr<arrow::Array>& rows) {
    path_.push_back({.array = rows, .nullable = field.nullable()});
    RETURN_NOT_OK(TakeInner(field, rows));
    path_.pop_back();
    return Status::OK();
  }
  std::vector<LeafLevels> leaves() && { return std::move(leaves_); }

 private:
  // On the way from the column to a leaf. What is below a struct has its indices, what is below a list or a map those
  // of its offsets.
  struct Node {
    std::shared_ptr<arrow::Array> array;
    bool nullable = true;
    const std::int32_t* offsets = nullptr;  // Of a list or a map, from its first row on.
    std::int32_t lists = 0;                 // Around what is in it.
    bool is_leaf = false;
  };

  Status TakeInner(const arrow::Field& field, const std::shared_ptr<arrow::Array>& array) {
    const arrow::FieldVector inner = InnerFields(*field.type());
    if (inner.empty()) return TakeLeaf(field);
    const std::size_t at = path_.size() - 1;
    path_[at].lists = at == 0 ? 0 : path_[at - 1].lists;
    for (std::size_t i = 0; i < inner.size(); ++i) {
      std::shared_ptr<arrow::Array> below;
      if (array->type_id() == arrow::Type::STRUCT) {
        below = static_cast<const arrow::StructArray&>(*array).field(static_cast<int>(i));
      } else {
        const auto& list = static_cast<const arrow::ListArray&>(*array);  // A map is one, too.
        path_[at].offsets = list.raw_value_offsets();
        path_[at].lists = (at == 0 ? 0 : path_[at - 1].lists) + 1;
        below = list.values();
        if (array->type_id() == arrow::Type::MAP) {
          const auto& map = static_cast<const arrow::MapArray&>(*array);
          below = i == 0 ? map.keys() : map.items();
        }
      }
      RETURN_NOT_OK(Take(*inner[i], below));
    }
    return Status::OK();
  }

  Status TakeLeaf(const arrow::Field& field) {
    path_.back().is_leaf = true;
    LeafLevels& leaf = leaves_.emplace_back();
    present_.clear();
    for (std::int64_t row = 0; row < path_.front().array->length(); ++row) Visit(0, row, 0, 0, leaf);
    if (has_forbidden_null_) return InvalidInput("column {} must not be null, and is", field.name());
    const std::shared_ptr<arrow::Array>& values = path_.back().array;
    if (std::ssize(present_) == values->length()) {
      leaf.values = values;
      return Status::OK();
    }
    const arrow::Int64Array indices(std::ssize(present_), arrow::Buffer::Wrap(present_));
    ASSIGN_OR_RETURN(leaf.values, arrow::compute::Take(*values, indices, arrow::compute::TakeOptions::NoBoundsCheck()));
    return Status::OK();
  }

  void Visit(std::size_t depth, std::int64_t index, std::int32_t definition, std::int32_t repetition,
             LeafLevels& leaf) {
    const Node& node = path_[depth];
    const bool is_null = node.array->IsNull(index);
    if (node.nullable && !is_null) ++definition;
    has_forbidden_null_ |= is_null && !node.nullable;
    if (is_null) return Add(definition, repetition, leaf);
    if (node.is_leaf) {
      present_.push_back(index);
      return Add(definition, repetition, leaf);
    }
    if (node.offsets == nullptr) return Visit(depth + 1, index, definition, repetition, leaf);
    const std::int32_t begin = node.offsets[index];
    const std::int32_t end = node.offsets[index + 1];
    if (begin == end) return Add(definition, repetition, leaf);
    for (std::int32_t i = begin; i < end; ++i) {
      Visit(depth + 1, i, definition + 1, i == begin ? repetition : node.lists, leaf);
    }
  }

  static void Add(std::int32_t definition, std::int32_t repetition, LeafLevels& leaf) {
    leaf.definition.push_back(definition);
    leaf.repetition.push_back(repetition);
  }

  std::vector<Node> path_;
  std::vector<std::int64_t> present_;  // Of the leaf: where the values are that are there.
  bool has_forbidden_null_ = false;
  std::vector<LeafLevels> leaves_;
};

}  // namespace

arrow::FieldVector LeafFields(const std::shared_ptr<arrow::Field>& field) {
  const arrow::FieldVector inner = InnerFields(*field->type());
  if (inner.empty()) return {field};
  arrow::FieldVector leaves;
  for (const auto& one : inner) {
    const auto below = LeafFields(one);
    leaves.insert(leaves.end(), below.begin(), below.end());
  }
  return leaves;
}

Result<std::vector<LeafLevels>> TakeApart(const arrow::Field& field, const std::shared_ptr<arrow::Array>& rows) {
  Taker taker;
  RETURN_NOT_OK(taker.Take(field, rows));
  return std::move(taker).leaves();
}

}  // namespace millrace::delta
