/// An aggregate as the lake alone has it.
#pragma once

#include <memory>

#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "query/aggregate_reader.h"

namespace millrace::pipeline {

/// Answers from what is committed of the plan's table, which is one of an aggregate. The table is opened, and held
/// against the plan, at the first question: errors of delta::Table::Open() and of CheckFits() are that question's.
/// `plan` outlives the reader.
std::unique_ptr<query::AggregateReader> LakeReader(const Plan& plan, int table,
                                                   const std::shared_ptr<objectstore::ObjectStore>& lake,
                                                   const query::ReaderResources& resources);

}  // namespace millrace::pipeline
