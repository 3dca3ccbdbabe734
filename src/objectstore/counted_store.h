/// A store that counts what is asked of it as object stores bill it: what a folder would cost if it were a bucket. For
/// metrics and for the cost estimate.
#pragma once

#include <memory>

#include "objectstore/object_store.h"

namespace millrace::objectstore {

/// The same store with a usage(). Requests that failed count too: they are billed. An upload is one put, whatever its
/// size; opening a file asks for its size (a head), and each ranged read is a get.
std::shared_ptr<ObjectStore> Counted(std::shared_ptr<ObjectStore> store);

}  // namespace millrace::objectstore
