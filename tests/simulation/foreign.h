/// Somebody else's program on the same tables, with another client of the bucket: it appends, deletes rows, sets
/// properties, rewrites small files, deletes what no version needs, and writes checkpoints, at any time and without
/// asking.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "books.h"
#include "bucket.h"
#include "pipeline/plan.h"

namespace millrace::simulation {

/// What its rows have in column `id`, which is negative in no other row.
inline constexpr std::int64_t kForeignId = -1;

/// One thing on one of the tables, chosen by the seed. What fails is left. `books` hear of rows before they are
/// deleted.
void ActAsForeigner(const pipeline::Plan& plan, Bucket& bucket, Books& books);

}  // namespace millrace::simulation
