# librdkafka as a static library: compiled and put there by scripts/setup (ADR 10).
if(NOT EXISTS ${MILLRACE_DEPS}/librdkafka/lib/librdkafka.a)
  message(FATAL_ERROR "librdkafka not found in ${MILLRACE_DEPS}. Run scripts/setup.")
endif()
pkg_check_modules(RDKAFKA_DEPS REQUIRED IMPORTED_TARGET libsasl2 libzstd liblz4)
add_library(RdKafka::rdkafka STATIC IMPORTED)
set_target_properties(RdKafka::rdkafka PROPERTIES
  IMPORTED_LOCATION ${MILLRACE_DEPS}/librdkafka/lib/librdkafka.a
  INTERFACE_INCLUDE_DIRECTORIES ${MILLRACE_DEPS}/librdkafka/include)
target_link_libraries(RdKafka::rdkafka INTERFACE PkgConfig::RDKAFKA_DEPS CURL::libcurl OpenSSL::SSL OpenSSL::Crypto
                                                 ZLIB::ZLIB Threads::Threads ${CMAKE_DL_LIBS})
