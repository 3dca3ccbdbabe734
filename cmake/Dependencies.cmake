# Third-party libraries: Debian's by find_package, the rest from the folder that scripts/setup fills.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(Boost 1.81 REQUIRED)
find_package(simdjson REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(RocksDB REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_package(CURL REQUIRED)
pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka)
pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)

include(Arrow)
include(DuckDB)

# Asio without the deprecated parts; header-only.
add_library(millrace_asio INTERFACE)
target_compile_definitions(millrace_asio INTERFACE BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_COROUTINE)
target_link_libraries(millrace_asio INTERFACE Boost::headers Threads::Threads)
