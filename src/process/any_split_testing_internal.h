/// For tests of the promise of partial aggregates: rows split in any way over batches and aggregators, in any order.
#pragma once

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api_vector.h>
#include <arrow/datum.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "aggregate/partial_table.h"
#include "process/windowed_aggregator.h"
#include "sql/sql_session.h"

namespace millrace::process {

/// Shuffles the rows, deals them in batches to a few aggregators, seals these now and then.
inline void AggregateAnyhow(const AggregatePlan& plan, const std::shared_ptr<arrow::RecordBatch>& rows,
                            std::mt19937_64* random, std::vector<std::shared_ptr<arrow::RecordBatch>>* partials) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(rows->num_rows()));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), *random);
  arrow::Int64Builder indices;
  ASSERT_TRUE(indices.AppendValues(order).ok());
  const auto taken =
      arrow::compute::Take(arrow::Datum(rows), arrow::Datum(indices.Finish().ValueOrDie())).ValueOrDie().record_batch();
  std::vector<std::unique_ptr<WindowedAggregator>> aggregators;
  for (int i = 0; i < 3; ++i) {
    auto aggregator = WindowedAggregator::Make(plan);
    ASSERT_TRUE(aggregator.ok()) << aggregator.status().ToString();
    aggregators.push_back(std::move(aggregator).ValueUnsafe());
  }
  for (std::int64_t begin = 0; begin < taken->num_rows();) {
    const std::int64_t count =
        std::min<std::int64_t>(taken->num_rows() - begin, static_cast<std::int64_t>((*random)() % 1500));
    auto& aggregator = aggregators[(*random)() % aggregators.size()];
    const auto added = aggregator->Add(taken->Slice(begin, count));
    ASSERT_TRUE(added.ok()) << added.status().ToString();
    EXPECT_EQ(added->aggregated + added->filtered + static_cast<std::int64_t>(added->failed.size()), count);
    EXPECT_TRUE(added->failed.empty());
    begin += count;
    if ((*random)() % 4 == 0) {
      auto sealed = aggregator->Seal();
      ASSERT_TRUE(sealed.ok()) << sealed.status().ToString();
      EXPECT_EQ(aggregator->num_groups(), 0);
      partials->push_back(std::move(sealed).ValueUnsafe());
    }
  }
  for (auto& aggregator : aggregators) {
    auto exported = aggregator->Export(aggregator->definition());
    ASSERT_TRUE(exported.ok()) << exported.status().ToString();
    EXPECT_EQ((*exported)->num_rows(), aggregator->num_groups());
    partials->push_back(std::move(exported).ValueUnsafe());
  }
}

/// One row for each group of partial rows, as an answer merges them.
struct MergedRows {
  std::shared_ptr<arrow::RecordBatch> rows;
  std::size_t oversized = 0;  ///< How many values have no place.
};

/// Partial rows of `definition`, merged and then folded to the keys of `coarser`.
inline MergedRows Merged(const model::AggregateDefinition& definition, const model::AggregateDefinition& coarser,
                         const std::vector<std::shared_ptr<arrow::RecordBatch>>& partials) {
  aggregate::PartialTable table(definition);
  const std::size_t num_keys = definition.keys.size();
  const std::size_t first_key = definition.window.has_windows() ? 2 : 0;
  for (const auto& rows : partials) {
    std::vector<aggregate::ColumnView> views(num_keys);
    std::vector<const aggregate::ColumnView*> keys;
    for (std::size_t k = 0; k < num_keys; ++k) {
      EXPECT_TRUE(views[k].Load(rows->column(static_cast<int>(first_key + k))).ok());
      keys.push_back(&views[k]);
    }
    std::vector<UnixMicros> windows(static_cast<std::size_t>(rows->num_rows()), definition.window.StartOf(0));
    if (first_key > 0) {
      const auto& starts = static_cast<const arrow::TimestampArray&>(*rows->column(0));
      windows.assign(starts.raw_values(), starts.raw_values() + starts.length());
    }
    std::vector<std::uint32_t> groups(static_cast<std::size_t>(rows->num_rows()));
    table.FindOrMake(rows->num_rows(), windows.data(), keys, nullptr, groups.data());
    const auto columns = rows->columns();
    const auto states = std::span(columns).subspan(first_key + num_keys, definition.states.size());
    EXPECT_TRUE(table.Merge(states, {rows->num_rows(), groups.data(), nullptr}).ok());
  }
  aggregate::PartialTable folded(coarser);
  table.FoldInto(folded, aggregate::KeptKeys(definition, coarser), std::numeric_limits<UnixMicros>::min(),
                 std::numeric_limits<UnixMicros>::max());
  MergedRows merged;
  merged.oversized = folded.Settle().size();
  merged.rows = folded.ExportSorted().ValueOrDie();
  return merged;
}

/// The aggregate's own columns, over the relation `merged` of one row per group.
inline std::string OverMergedSql(const model::AggregateDefinition& definition) {
  std::string outputs;
  for (const auto& name : definition.output_order) {
    std::string text = sql::QuoteIdentifier(name);
    for (const auto& measure : definition.measures) {
      if (measure.name == name) text = fmt::format("{} AS {}", measure.sql, sql::QuoteIdentifier(name));
    }
    outputs += (outputs.empty() ? "" : ", ") + text;
  }
  const std::string where = definition.having_sql.empty() ? "" : " WHERE " + definition.having_sql;
  return fmt::format("SELECT {} FROM merged{}", outputs, where);
}

}  // namespace millrace::process
