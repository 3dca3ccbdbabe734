/// Structs, lists and maps as Parquet writes them: leaves, and of each value how much of what is around it is there.
/// Spec: Parquet's README, "Nested Encoding".
#pragma once

#include <arrow/array.h>
#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"

namespace millrace::delta {

/// A leaf of some rows. Levels are of what a reader meets: values, nulls, and lists and maps without elements.
struct LeafLevels {
  std::vector<std::int32_t> definition;  ///< How many of the optional and repeated fields around it, and itself, are.
  std::vector<std::int32_t> repetition;  ///< The list that goes on with it, from the outermost, 1; 0: a new row.
  std::shared_ptr<arrow::Array> values;  ///< Those that are there, none null: those of the highest definition level.
};

/// The fields of the leaves of a column's type, in the order of the file; of one without nesting itself.
arrow::FieldVector LeafFields(const std::shared_ptr<arrow::Field>& field);

/// One for each of LeafFields(). Fails when memory runs out, and with kInvalidInput for a null where `field` has none.
Result<std::vector<LeafLevels>> TakeApart(const arrow::Field& field, const std::shared_ptr<arrow::Array>& rows);

}  // namespace millrace::delta
