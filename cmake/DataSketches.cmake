# Apache DataSketches: headers, put there by scripts/setup.
if(NOT EXISTS ${MILLRACE_DEPS}/datasketches/include/hll.hpp)
  message(FATAL_ERROR "Apache DataSketches not found in ${MILLRACE_DEPS}. Run scripts/setup.")
endif()
add_library(DataSketches::datasketches INTERFACE IMPORTED)
set_target_properties(DataSketches::datasketches PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES ${MILLRACE_DEPS}/datasketches/include)
