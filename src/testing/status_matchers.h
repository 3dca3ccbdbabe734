/// Macros for tests that speak Status and Result.
#pragma once

#include <gtest/gtest.h>

#include "base/status.h"

#define MILLRACE_ASSERT_OK(expr)                             \
  do {                                                       \
    const ::arrow::Status _status = ::arrow::ToStatus(expr); \
    ASSERT_TRUE(_status.ok()) << _status.ToString();         \
  } while (false)

#define MILLRACE_ASSERT_OK_AND_ASSIGN(lhs, expr) \
  MILLRACE_ASSERT_OK_AND_ASSIGN_IMPL(MILLRACE_CONCAT(_result_, __COUNTER__), lhs, expr)
#define MILLRACE_ASSERT_OK_AND_ASSIGN_IMPL(name, lhs, expr) \
  auto name = (expr);                                       \
  ASSERT_TRUE(name.ok()) << name.status().ToString();       \
  lhs = std::move(name).ValueUnsafe()

/// The expression fails with this kind; its message is given to the test as the value of the macro's status.
#define MILLRACE_ASSERT_KIND(kind, expr)                                \
  do {                                                                  \
    const ::arrow::Status _status = ::arrow::ToStatus(expr);            \
    ASSERT_FALSE(_status.ok());                                         \
    ASSERT_EQ(::millrace::KindOf(_status), kind) << _status.ToString(); \
  } while (false)
