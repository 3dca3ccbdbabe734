/// What a decoder does with a record: steps, one after the other, compiled from the writer's and the reader's schema
/// and the columns.
///
/// The writer's schema says how the bytes lie; the reader's says which fields there are (by name or alias), what they
/// are without a value (defaults), and which types may be read as which others ("Schema Resolution"). What a value is,
/// its unit or its scale, is as the writer says, or as the reader says if the writer does not.
///
/// A column that is a text of a record, a map or an array holds the writer's value as it is.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ingest/avro/schema.h"
#include "ingest/declared_fields.h"
#include "ingest/decode_spec.h"

namespace millrace::ingest::avro {

enum class Op : std::uint8_t {
  // Leaves: a value to one row of a column.
  kText,       ///< String or bytes.
  kSymbol,     ///< `arg`: of Plan::symbols.
  kFormatted,  ///< `schema`, by AppendPlain().
  kJson,       ///< `schema`, by AppendJson().
  kBool,
  kInt32,  ///< Of an int.
  kInt32OfLong,
  kInt64,  ///< Of a long.
  kInt64OfInt,
  kDouble,
  kDoubleOfFloat,
  kDoubleOfLong,
  kDecimal,  ///< `schema`: of bytes or fixed.
  kDecimalOfLong,
  kDecimalOfText,
  kDate,
  kDateOfText,
  kSeconds,  ///< An integer since 1970, and its unit.
  kMillis,
  kMicros,
  kNanos,
  kTimestampOfText,
  kByText,     ///< `schema`: its text, as the column reads texts.
  kBytes,      ///< `schema`: of bytes or fixed.
  kUuidBytes,  ///< Of a fixed of 16 bytes.
  kNull,       ///< Of no bytes.
  kBranches,   ///< `arg`: of Plan::leaf_branches; a leaf for each branch.
  kMismatch,   ///< `schema`: what the column cannot take.
  kList,       ///< `arg`: of Plan::leaves, for its items; `schema`: the array.
  kMap,        ///< `arg`: of Plan::leaves, for its values; `schema`: the map.
  kStruct,     ///< `arg`: of Plan::structs.
  // The rest.
  kSkip,    ///< `schema`.
  kRescue,  ///< `schema`; `arg`: of Plan::keys.
  kOpen,    ///< An object of which something may be rescued; `arg`: of Plan::keys.
  kClose,
  kBranch,        ///< `arg`: of Plan::jumps; a step for each branch.
  kJump,          ///< To step `arg`.
  kSetNull,       ///< `arg`: of Plan::column_sets.
  kMark,          ///< The field that follows is read several times,
  kRewind,        ///< each time from here.
  kBeginDefault,  ///< What follows is read from Plan::defaults, `arg`,
  kEndDefault,    ///< up to here.
  kUnknownField,  ///< The record is refused.
  kEnd
};

struct Step {
  Op op = Op::kEnd;
  /// Of leaves: the index, 0 or 1, of null in a union with the value's type. -1: no union.
  std::int8_t null_branch = -1;
  std::uint32_t column = 0;  ///< Of the spec.
  std::uint32_t arg = 0;
  std::uint32_t path = 0;  ///< Of Plan::paths: the field, for messages.
  const Schema* schema = nullptr;
};

/// A record that is a struct.
struct StructPlan {
  struct Part {
    std::uint32_t leaf = 0;           ///< Of Plan::leaves.
    std::size_t member = 0;           ///< That it fills.
    const Schema* skipped = nullptr;  ///< Not null: nothing takes it, and it is passed over.
    std::uint32_t default_bytes = 0;  ///< Of `defaults`: of Plan::defaults.
  };
  std::vector<Part> fields;    ///< In the writer's order.
  std::vector<Part> defaults;  ///< Members that the writer has not.
};

struct Plan {
  std::vector<Step> steps;
  std::vector<Step> leaves;                               ///< That `steps` refer to.
  std::vector<std::vector<std::uint32_t>> leaf_branches;  ///< Indexes of `leaves`.
  std::deque<StructPlan> structs;
  std::vector<std::vector<std::uint32_t>> jumps;  ///< Indexes of `steps`.
  std::vector<std::vector<std::uint32_t>> column_sets;
  std::vector<std::vector<std::string_view>> symbols;  ///< By the writer's index; empty: the reader knows it not.
  std::deque<std::string> keys;                        ///< With quotes and colon.
  std::deque<std::string> paths;
  std::deque<std::string> defaults;
  std::vector<SchemaPtr> schemas;  ///< That the others point into.
};

/// The columns of a spec by their paths.
struct ColumnTree {
  std::vector<std::uint32_t> columns;  ///< That are this field; then there are no children.
  std::vector<std::pair<std::string, ColumnTree>> children;

  const ColumnTree* Find(std::string_view name) const;
  ColumnTree* Find(std::string_view name);
};

/// kInvalidInput: a column whose path goes through another's field.
Result<ColumnTree> MakeColumnTree(const std::vector<ColumnSpec>& columns);

/// kInvalidInput, naming field or column: a path that `reader` has not, a column that cannot take its field, or a
/// writer that cannot be read as `reader` asks.
Result<std::unique_ptr<const Plan>> CompilePlan(SchemaPtr writer, SchemaPtr reader, const DecodeSpec& spec,
                                                const ColumnTree& columns);

/// Says of each field of a record which column ColumnsOf() would make of it, if there is one that holds it.
void DeclareFields(const Schema& record, DeclaredFields& declared);

/// A column for each field of a record, see avro_decoder.h.
Result<std::vector<ColumnSpec>> ColumnsOf(const Schema& reader);

}  // namespace millrace::ingest::avro
