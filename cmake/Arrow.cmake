# Arrow and Parquet: the system's if it has them, else the pyarrow wheel's (headers and versioned .so, no CMake files).
#
# Trap: every wheel's libparquet exports an OpenSSL libcrypto of its own. A program that uses Debian's OpenSSL must have
# -lssl -lcrypto before every Arrow library on its link line, with --no-as-needed, so that those symbols bind to
# Debian's. Arrow::arrow carries that order; tests/openssl_binding asserts it.
#
# Installed with the package, for its users. Needs find_package(OpenSSL). Sets MILLRACE_ARROW_MAJOR: libraries of ours go
# with the major version that they were compiled with.
if(TARGET Arrow::arrow)
  return()
endif()
include(${CMAKE_CURRENT_LIST_DIR}/MillraceDeps.cmake)
find_package(Arrow QUIET)
if(Arrow_FOUND)
  string(REGEX MATCH "^[0-9]+" MILLRACE_ARROW_MAJOR "${Arrow_VERSION}")
  find_package(Parquet REQUIRED)
  add_library(Arrow::arrow ALIAS Arrow::arrow_shared)
  add_library(Arrow::parquet ALIAS Parquet::parquet_shared)
else()
  file(GLOB _pyarrow ${MILLRACE_DEPS}/venv/lib/python3*/site-packages/pyarrow)
  if(NOT _pyarrow)
    message(FATAL_ERROR "Arrow not found, neither the system's nor in ${MILLRACE_DEPS}. Run scripts/setup.")
  endif()
  set(MILLRACE_ARROW_MAJOR 25)
  add_library(millrace_openssl_first INTERFACE)
  target_link_options(millrace_openssl_first INTERFACE "LINKER:--push-state,--no-as-needed"
                      ${OPENSSL_SSL_LIBRARY} ${OPENSSL_CRYPTO_LIBRARY} "LINKER:--pop-state")
  foreach(lib arrow arrow_compute parquet)
    add_library(Arrow::${lib} SHARED IMPORTED)
    set_target_properties(Arrow::${lib} PROPERTIES
      IMPORTED_LOCATION ${_pyarrow}/lib${lib}.so.${MILLRACE_ARROW_MAJOR}00
      INTERFACE_INCLUDE_DIRECTORIES ${_pyarrow}/include)
  endforeach()
  target_link_libraries(Arrow::arrow INTERFACE millrace_openssl_first)
  target_link_libraries(Arrow::arrow_compute INTERFACE Arrow::arrow)
  target_link_libraries(Arrow::parquet INTERFACE Arrow::arrow)
endif()
