#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "postgres/catalog_relations_internal.h"
#include "postgres/types.h"

namespace millrace::postgres {
namespace {

// A type of the catalog's columns as DuckDB's, and what stands in a column that `rows` says nothing about.
struct ColumnType {
  std::string_view name;
  std::string_view duckdb;
  std::string_view otherwise;
};

constexpr ColumnType kColumnTypes[] = {
    {"bool", "BOOLEAN", "false"},
    {"cardinal_number", "INTEGER", "NULL"},
    {"char", "VARCHAR", "''"},
    {"float4", "FLOAT", "0"},
    {"float8", "DOUBLE", "0"},
    {"int2", "SMALLINT", "0"},
    {"int2[]", "SMALLINT[]", "NULL"},
    {"int2vector", "SMALLINT[]", "NULL"},
    {"int4", "INTEGER", "0"},
    {"int8", "BIGINT", "0"},
    {"oid", "BIGINT", "0"},
    {"oid[]", "BIGINT[]", "NULL"},
    {"oidvector", "BIGINT[]", "NULL"},
    {"regproc", "VARCHAR", "'-'"},
    {"regtype", "BIGINT", "0"},
    {"regtype[]", "BIGINT[]", "NULL"},
    {"timestamptz", "TIMESTAMPTZ", "NULL"},
    {"xid", "BIGINT", "0"},
};

ColumnType TypeOfColumn(std::string_view type) {
  const auto* const found = std::find_if(std::begin(kColumnTypes), std::end(kColumnTypes),
                                         [&](const ColumnType& one) { return one.name == type; });
  if (found != std::end(kColumnTypes)) return *found;
  return {type, type.ends_with("[]") ? "VARCHAR[]" : "VARCHAR", "NULL"};
}

// Types that clients cast to and DuckDB does not have.
constexpr std::pair<std::string_view, std::string_view> kCastTypes[] = {
    {"aclitem", "VARCHAR"},     {"cardinal_number", "INTEGER"}, {"character_data", "VARCHAR"},
    {"cid", "BIGINT"},          {"int2vector", "SMALLINT[]"},   {"name", "VARCHAR"},
    {"oidvector", "BIGINT[]"},  {"pg_node_tree", "VARCHAR"},    {"regclass", "BIGINT"},
    {"regnamespace", "BIGINT"}, {"regproc", "VARCHAR"},         {"regrole", "BIGINT"},
    {"regtype", "BIGINT"},      {"sql_identifier", "VARCHAR"},  {"xid", "BIGINT"},
    {"yes_or_no", "VARCHAR"},
};

// By name, and what stands behind it in CREATE MACRO. About what is not kept here they say NULL.
constexpr std::pair<std::string_view, std::string_view> kFunctions[] = {
    {"_pg_expandarray", "(a) AS unnest(list_transform(a, lambda v, i: {'x': v, 'n': i}))"},
    {"array_lower", "(a, d) AS CASE WHEN len(a) > 0 THEN 1 END"},
    {"array_upper", "(a, d) AS CASE WHEN len(a) > 0 THEN len(a) END"},
    {"col_description", "(r, n) AS CAST(NULL AS VARCHAR)"},
    {"current_catalog", "() AS (SELECT database_name FROM door_caller)"},
    {"current_database", "() AS (SELECT database_name FROM door_caller)"},
    {"current_role", "() AS (SELECT user_name FROM door_caller)"},
    {"current_schema", "() AS 'public'"},
    {"current_schemas", "(i) AS CASE WHEN i THEN ['pg_catalog', 'public'] ELSE ['public'] END"},
    // From a variable: a subquery could not stand in the arguments of generate_series().
    {"current_setting",
     "(n) AS getvariable('door_settings')[lower(n)], (n, m) AS getvariable('door_settings')[lower(n)]"},
    {"current_user", "() AS (SELECT user_name FROM door_caller)"},
    {"getdatabaseencoding", "() AS 'UTF8'"},
    {"has_any_column_privilege", "(r, p) AS upper(p) LIKE '%SELECT%', (u, r, p) AS upper(p) LIKE '%SELECT%'"},
    {"has_column_privilege", "(r, c, p) AS upper(p) LIKE '%SELECT%', (u, r, c, p) AS upper(p) LIKE '%SELECT%'"},
    {"has_database_privilege", "(d, p) AS upper(p) LIKE '%CONNECT%', (u, d, p) AS upper(p) LIKE '%CONNECT%'"},
    {"has_function_privilege", "(f, p) AS true, (u, f, p) AS true"},
    {"has_language_privilege", "(l, p) AS false, (u, l, p) AS false"},
    {"has_schema_privilege", "(s, p) AS upper(p) LIKE '%USAGE%', (u, s, p) AS upper(p) LIKE '%USAGE%'"},
    {"has_sequence_privilege", "(s, p) AS false, (u, s, p) AS false"},
    {"has_table_privilege", "(r, p) AS upper(p) LIKE '%SELECT%', (u, r, p) AS upper(p) LIKE '%SELECT%'"},
    {"has_tablespace_privilege", "(t, p) AS false, (u, t, p) AS false"},
    {"has_type_privilege", "(t, p) AS true, (u, t, p) AS true"},
    {"inet_client_addr", "() AS CAST(NULL AS VARCHAR)"},
    {"inet_client_port", "() AS CAST(NULL AS INTEGER)"},
    {"inet_server_addr", "() AS CAST(NULL AS VARCHAR)"},
    {"inet_server_port", "() AS CAST(NULL AS INTEGER)"},
    {"quote_ident", R"((t) AS CASE WHEN regexp_full_match(t, '[a-z_][a-z0-9_$]*') THEN t
      ELSE '"' || replace(t, '"', '""') || '"' END)"},
    {"quote_literal", "(t) AS '''' || replace(t, '''', '''''') || ''''"},
    {"millrace_regclass", R"((n) AS (SELECT min(oid) FROM door_relations WHERE CAST(oid AS VARCHAR) = n
      OR schema || '.' || name = replace(n, '"', '') OR schema <> 'information_schema' AND name = replace(n, '"', '')))"},
    {"millrace_regclass_name",
     R"((o) AS (SELECT CASE WHEN schema = 'information_schema' THEN schema || '.' ELSE '' END ||
      quote_ident(name) FROM door_relations WHERE oid = TRY_CAST(o AS BIGINT)))"},
    {"millrace_regnamespace", R"((n) AS CASE replace(n, '"', '') WHEN 'pg_catalog' THEN 11 WHEN 'public' THEN 2200
      WHEN 'information_schema' THEN 13000 ELSE TRY_CAST(n AS BIGINT) END)"},
    {"millrace_regnamespace_name",
     "(o) AS CASE o WHEN 11 THEN 'pg_catalog' WHEN 2200 THEN 'public' WHEN 13000 THEN 'information_schema' END"},
    {"millrace_regproc", "(n) AS replace(n, 'pg_catalog.', '')"},
    {"millrace_regproc_name", "(n) AS n"},
    {"millrace_regrole",
     "(n) AS (SELECT CASE WHEN n = user_name AND n <> 'millrace' THEN 11 WHEN n = 'millrace' THEN 10 END FROM "
     "door_caller)"},
    {"pg_get_userbyid", "(o) AS CASE WHEN o = 11 THEN (SELECT user_name FROM door_caller) ELSE 'millrace' END"},
    {"millrace_regrole_name", "(o) AS pg_get_userbyid(o)"},
    {"millrace_regtype", R"((n) AS (SELECT min(oid) FROM door_types WHERE CAST(oid AS VARCHAR) = n
      OR name = replace(replace(n, 'pg_catalog.', ''), '"', '') OR format_type(oid, NULL) = replace(n, 'pg_catalog.', '')))"},
    {"millrace_regtype_name", "(o) AS format_type(o, NULL)"},
    {"obj_description", "(o) AS CAST(NULL AS VARCHAR), (o, c) AS CAST(NULL AS VARCHAR)"},
    {"parse_ident", R"((n) AS string_split(replace(n, '"', ''), '.'))"},
    {"pg_backend_pid", "() AS (SELECT process FROM door_caller)"},
    {"pg_char_to_encoding", "(n) AS CASE WHEN replace(upper(n), '-', '') = 'UTF8' THEN 6 ELSE -1 END"},
    {"pg_client_encoding", "() AS 'UTF8'"},
    {"pg_collation_is_visible", "(o) AS true"},
    {"pg_conversion_is_visible", "(o) AS true"},
    {"pg_database_size", "(d) AS CAST(NULL AS BIGINT)"},
    {"pg_encoding_to_char", "(e) AS CASE e WHEN 6 THEN 'UTF8' ELSE '' END"},
    {"pg_function_is_visible", "(o) AS true"},
    {"pg_get_constraintdef", "(o) AS CAST(NULL AS VARCHAR), (o, p) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_expr", "(e, r) AS CAST(NULL AS VARCHAR), (e, r, p) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_function_arguments", "(o) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_function_identity_arguments", "(o) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_function_result", "(o) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_functiondef", "(o) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_indexdef", "(o) AS CAST(NULL AS VARCHAR), (o, c, p) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_partition_constraintdef", "(o) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_partkeydef", "(o) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_ruledef", "(o) AS CAST(NULL AS VARCHAR), (o, p) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_serial_sequence", "(t, c) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_statisticsobjdef_columns", "(o) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_triggerdef", "(o) AS CAST(NULL AS VARCHAR), (o, p) AS CAST(NULL AS VARCHAR)"},
    {"pg_get_viewdef", "(o) AS CAST(NULL AS VARCHAR), (o, p) AS CAST(NULL AS VARCHAR)"},
    {"pg_has_role", "(r, p) AS true, (u, r, p) AS true"},
    {"pg_index_column_has_property", "(i, c, p) AS CAST(NULL AS BOOLEAN)"},
    {"pg_indexes_size", "(o) AS CAST(NULL AS BIGINT)"},
    {"pg_is_in_recovery", "() AS false"},
    {"pg_is_other_temp_schema", "(o) AS false"},
    {"pg_my_temp_schema", "() AS 0"},
    {"pg_opclass_is_visible", "(o) AS true"},
    {"pg_operator_is_visible", "(o) AS true"},
    {"pg_opfamily_is_visible", "(o) AS true"},
    {"pg_relation_is_publishable", "(o) AS false"},
    {"pg_relation_size", "(o) AS CAST(NULL AS BIGINT), (o, f) AS CAST(NULL AS BIGINT)"},
    {"pg_size_pretty",
     "(n) AS CASE WHEN n < 10240 THEN n || ' bytes' WHEN n < 10485760 THEN (n + 512) // 1024 || ' kB' "
     "WHEN n < 10737418240 THEN (n + 524288) // 1048576 || ' MB' ELSE (n + 536870912) // 1073741824 || ' GB' END"},
    {"pg_statistics_obj_is_visible", "(o) AS true"},
    {"pg_table_is_visible", "(o) AS CAST(o AS BIGINT) NOT BETWEEN 13000 AND 16383"},
    {"pg_table_size", "(o) AS CAST(NULL AS BIGINT)"},
    {"pg_tablespace_location", "(o) AS ''"},
    {"pg_tablespace_size", "(o) AS CAST(NULL AS BIGINT)"},
    {"pg_total_relation_size", "(o) AS CAST(NULL AS BIGINT)"},
    {"pg_ts_config_is_visible", "(o) AS true"},
    {"pg_ts_dict_is_visible", "(o) AS true"},
    {"pg_ts_parser_is_visible", "(o) AS true"},
    {"pg_ts_template_is_visible", "(o) AS true"},
    {"pg_type_is_visible", "(o) AS true"},
    {"pg_typeof", "(v) AS lower(typeof(v))"},
    {"session_user", "() AS (SELECT user_name FROM door_caller)"},
    {"set_config", "(n, v, l) AS v"},
    {"shobj_description", "(o, c) AS CAST(NULL AS VARCHAR)"},
    {"to_regclass", "(n) AS millrace_regclass(n)"},
    {"to_regnamespace", "(n) AS millrace_regnamespace(n)"},
    {"to_regtype", "(n) AS millrace_regtype(n)"},
};

// Of role_table_grants and table_privileges, which differ where there are grants to others than who asks.
constexpr std::string_view kPrivilegeColumns =
    "grantor sql_identifier, grantee sql_identifier, table_catalog sql_identifier, table_schema sql_identifier, "
    "table_name sql_identifier, privilege_type character_data, is_grantable yes_or_no, with_hierarchy yes_or_no";
constexpr std::string_view kPrivileges =
    R"(SELECT 'millrace' AS grantor, user_name AS grantee, database_name AS table_catalog, schema AS table_schema, name AS table_name,
         'SELECT' AS privilege_type, 'NO' AS is_grantable, 'NO' AS with_hierarchy
  FROM door_caller, door_relations)";

const std::vector<CatalogRelation>& Relations() {
  static const std::vector<CatalogRelation> kRelations = {
      {"pg_am", "oid oid, amname name, amhandler regproc, amtype char",
       R"(SELECT 2 AS oid, 'heap' AS amname, 't' AS amtype)"},
      {"pg_attrdef", "oid oid, adrelid oid, adnum int2, adbin pg_node_tree", ""},
      {"pg_attribute",
       "attrelid oid, attname name, atttypid oid, attstattarget int4, attlen int2, attnum int2, attndims int4, "
       "attcacheoff int4, atttypmod int4, attbyval bool, attalign char, attstorage char, attcompression char, "
       "attnotnull bool, atthasdef bool, atthasmissing bool, attidentity char, attgenerated char, attisdropped "
       "bool, attislocal bool, attinhcount int4, attcollation oid, attacl aclitem[], attoptions text[], "
       "attfdwoptions text[], attmissingval anyarray",
       R"(SELECT c.relation AS attrelid, c.name AS attname, c.type AS atttypid, -1 AS attstattarget, c.bytes AS attlen,
         c.number AS attnum, CASE WHEN c.element = 0 THEN 0 ELSE 1 END AS attndims, -1 AS attcacheoff, c.modifier AS atttypmod,
         c.bytes IN (1, 2, 4, 8) AS attbyval, CASE c.bytes WHEN 8 THEN 'd' WHEN 2 THEN 's' WHEN 1 THEN 'c' ELSE 'i' END AS attalign,
         CASE WHEN c.bytes < 0 THEN 'x' ELSE 'p' END AS attstorage, true AS attislocal,
         CASE WHEN t.category = 'S' THEN 100 ELSE 0 END AS attcollation
  FROM door_columns c LEFT JOIN door_types t ON t.oid = c.type)"},
      {"pg_auth_members", "roleid oid, member oid, grantor oid, admin_option bool", ""},
      {"pg_available_extensions", "name name, default_version text, installed_version text, comment text", ""},
      {"pg_cast", "oid oid, castsource oid, casttarget oid, castfunc oid, castcontext char, castmethod char", ""},
      {"pg_class",
       "oid oid, relname name, relnamespace oid, reltype oid, reloftype oid, relowner oid, relam oid, "
       "relfilenode oid, reltablespace oid, relpages int4, reltuples float4, relallvisible int4, reltoastrelid "
       "oid, relhasindex bool, relisshared bool, relpersistence char, relkind char, relnatts int2, relchecks "
       "int2, relhasrules bool, relhastriggers bool, relhassubclass bool, relrowsecurity bool, "
       "relforcerowsecurity bool, relispopulated bool, relreplident char, relispartition bool, relrewrite oid, "
       "relfrozenxid xid, relminmxid xid, relacl aclitem[], reloptions text[], relpartbound pg_node_tree",
       R"(SELECT oid, name AS relname, CASE schema WHEN 'public' THEN 2200 WHEN 'pg_catalog' THEN 11 ELSE 13000 END AS relnamespace,
         10 AS relowner, CASE kind WHEN 'r' THEN 2 ELSE 0 END AS relam, -1 AS reltuples, 'p' AS relpersistence, kind AS relkind,
         num_columns AS relnatts, true AS relispopulated, 'n' AS relreplident
  FROM door_relations)"},
      {"pg_collation",
       "oid oid, collname name, collnamespace oid, collowner oid, collprovider char, collisdeterministic bool, "
       "collencoding int4, collcollate text, collctype text, colliculocale text, collversion text",
       R"(SELECT 100 AS oid, 'default' AS collname, 11 AS collnamespace, 10 AS collowner, 'd' AS collprovider, true AS collisdeterministic,
         -1 AS collencoding)"},
      {"pg_constraint",
       "oid oid, conname name, connamespace oid, contype char, condeferrable bool, condeferred bool, "
       "convalidated bool, conrelid oid, contypid oid, conindid oid, conparentid oid, confrelid oid, confupdtype "
       "char, confdeltype char, confmatchtype char, conislocal bool, coninhcount int4, connoinherit bool, conkey "
       "int2[], confkey int2[], conpfeqop oid[], conppeqop oid[], conffeqop oid[], confdelsetcols int2[], "
       "conexclop oid[], conbin pg_node_tree",
       ""},
      {"pg_conversion",
       "oid oid, conname name, connamespace oid, conowner oid, conforencoding int4, contoencoding int4, conproc "
       "regproc, condefault bool",
       ""},
      {"pg_cursors",
       "name text, statement text, is_holdable bool, is_binary bool, is_scrollable bool, creation_time "
       "timestamptz",
       ""},
      {"pg_database",
       "oid oid, datname name, datdba oid, encoding int4, datlocprovider char, datistemplate bool, datallowconn "
       "bool, datconnlimit int4, datfrozenxid xid, datminmxid xid, dattablespace oid, datcollate text, datctype "
       "text, daticulocale text, datcollversion text, datacl aclitem[]",
       R"(SELECT 1 AS oid, database_name AS datname, 10 AS datdba, 6 AS encoding, 'c' AS datlocprovider, true AS datallowconn,
         -1 AS datconnlimit, 1663 AS dattablespace, 'C' AS datcollate, 'C' AS datctype
  FROM door_caller)"},
      {"pg_db_role_setting", "setdatabase oid, setrole oid, setconfig text[]", ""},
      {"pg_default_acl", "oid oid, defaclrole oid, defaclnamespace oid, defaclobjtype char, defaclacl aclitem[]", ""},
      {"pg_depend",
       "classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, refobjsubid int4, deptype char", ""},
      {"pg_description", "objoid oid, classoid oid, objsubid int4, description text", ""},
      {"pg_enum", "oid oid, enumtypid oid, enumsortorder float4, enumlabel name", ""},
      {"pg_event_trigger",
       "oid oid, evtname name, evtevent name, evtowner oid, evtfoid oid, evtenabled char, evttags text[]", ""},
      {"pg_extension",
       "oid oid, extname name, extowner oid, extnamespace oid, extrelocatable bool, extversion text, extconfig "
       "oid[], extcondition text[]",
       ""},
      {"pg_foreign_data_wrapper",
       "oid oid, fdwname name, fdwowner oid, fdwhandler oid, fdwvalidator oid, fdwacl aclitem[], fdwoptions "
       "text[]",
       ""},
      {"pg_foreign_server",
       "oid oid, srvname name, srvowner oid, srvfdw oid, srvtype text, srvversion text, srvacl aclitem[], "
       "srvoptions text[]",
       ""},
      {"pg_foreign_table", "ftrelid oid, ftserver oid, ftoptions text[]", ""},
      {"pg_group", "groname name, grosysid oid, grolist oid[]", ""},
      {"pg_index",
       "indexrelid oid, indrelid oid, indnatts int2, indnkeyatts int2, indisunique bool, indnullsnotdistinct "
       "bool, indisprimary bool, indisexclusion bool, indimmediate bool, indisclustered bool, indisvalid bool, "
       "indcheckxmin bool, indisready bool, indislive bool, indisreplident bool, indkey int2vector, indcollation "
       "oidvector, indclass oidvector, indoption int2vector, indexprs pg_node_tree, indpred pg_node_tree",
       ""},
      {"pg_indexes", "schemaname name, tablename name, indexname name, tablespace name, indexdef text", ""},
      {"pg_inherits", "inhrelid oid, inhparent oid, inhseqno int4, inhdetachpending bool", ""},
      {"pg_language",
       "oid oid, lanname name, lanowner oid, lanispl bool, lanpltrusted bool, lanplcallfoid oid, laninline oid, "
       "lanvalidator oid, lanacl aclitem[]",
       R"(SELECT 12 AS oid, 'internal' AS lanname, 10 AS lanowner)"},
      {"pg_locks",
       "locktype text, database oid, relation oid, page int4, tuple int2, virtualxid text, transactionid xid, "
       "classid oid, objid oid, objsubid int2, virtualtransaction text, pid int4, mode text, granted bool, "
       "fastpath bool, waitstart timestamptz",
       ""},
      {"pg_matviews",
       "schemaname name, matviewname name, matviewowner name, tablespace name, hasindexes bool, ispopulated "
       "bool, definition text",
       ""},
      {"pg_namespace", "oid oid, nspname name, nspowner oid, nspacl aclitem[]",
       R"(SELECT * FROM (VALUES (11, 'pg_catalog', 10), (2200, 'public', 10), (13000, 'information_schema', 10)) AS s(oid, nspname, nspowner))"},
      {"pg_opclass",
       "oid oid, opcmethod oid, opcname name, opcnamespace oid, opcowner oid, opcfamily oid, opcintype oid, "
       "opcdefault bool, opckeytype oid",
       ""},
      {"pg_operator",
       "oid oid, oprname name, oprnamespace oid, oprowner oid, oprkind char, oprcanmerge bool, oprcanhash bool, "
       "oprleft oid, oprright oid, oprresult oid, oprcom oid, oprnegate oid, oprcode regproc, oprrest regproc, "
       "oprjoin regproc",
       ""},
      {"pg_opfamily", "oid oid, opfmethod oid, opfname name, opfnamespace oid, opfowner oid", ""},
      {"pg_partitioned_table",
       "partrelid oid, partstrat char, partnatts int2, partdefid oid, partattrs int2vector, partclass oidvector, "
       "partcollation oidvector, partexprs pg_node_tree",
       ""},
      {"pg_policies",
       "schemaname name, tablename name, policyname name, permissive text, roles name[], cmd text, qual text, "
       "with_check text",
       ""},
      {"pg_policy",
       "oid oid, polname name, polrelid oid, polcmd char, polpermissive bool, polroles oid[], polqual "
       "pg_node_tree, polwithcheck pg_node_tree",
       ""},
      {"pg_prepared_statements",
       "name text, statement text, prepare_time timestamptz, parameter_types regtype[], from_sql bool, "
       "generic_plans int8, custom_plans int8",
       ""},
      {"pg_proc",
       "oid oid, proname name, pronamespace oid, proowner oid, prolang oid, procost float4, prorows float4, "
       "provariadic oid, prosupport regproc, prokind char, prosecdef bool, proleakproof bool, proisstrict bool, "
       "proretset bool, provolatile char, proparallel char, pronargs int2, pronargdefaults int2, prorettype oid, "
       "proargtypes oidvector, proallargtypes oid[], proargmodes char[], proargnames text[], proargdefaults "
       "pg_node_tree, protrftypes oid[], prosrc text, probin text, prosqlbody pg_node_tree, proconfig text[], "
       "proacl aclitem[]",
       ""},
      {"pg_publication",
       "oid oid, pubname name, pubowner oid, puballtables bool, pubinsert bool, pubupdate bool, pubdelete bool, "
       "pubtruncate bool, pubviaroot bool",
       ""},
      {"pg_publication_namespace", "oid oid, pnpubid oid, pnnspid oid", ""},
      {"pg_publication_rel", "oid oid, prpubid oid, prrelid oid, prqual pg_node_tree, prattrs int2vector", ""},
      {"pg_publication_tables", "pubname name, schemaname name, tablename name, attnames name[], rowfilter text", ""},
      {"pg_range",
       "rngtypid oid, rngsubtype oid, rngmultitypid oid, rngcollation oid, rngsubopc oid, rngcanonical regproc, "
       "rngsubdiff regproc",
       ""},
      {"pg_replication_slots",
       "slot_name name, plugin name, slot_type text, datoid oid, database name, temporary bool, active bool, "
       "active_pid int4, xmin xid, catalog_xmin xid, restart_lsn pg_lsn, confirmed_flush_lsn pg_lsn, wal_status "
       "text, safe_wal_size int8, two_phase bool",
       ""},
      {"pg_rewrite",
       "oid oid, rulename name, ev_class oid, ev_type char, ev_enabled char, is_instead bool, ev_qual "
       "pg_node_tree, ev_action pg_node_tree",
       ""},
      {"pg_roles",
       "rolname name, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool, rolcanlogin bool, "
       "rolreplication bool, rolconnlimit int4, rolpassword text, rolvaliduntil timestamptz, rolbypassrls bool, "
       "rolconfig text[], oid oid",
       R"(SELECT 10 AS oid, 'millrace' AS rolname, true AS rolinherit, -1 AS rolconnlimit
  UNION ALL SELECT 11, user_name, true, -1 FROM door_caller WHERE user_name <> 'millrace')"},
      {"pg_rules", "schemaname name, tablename name, rulename name, definition text", ""},
      {"pg_seclabel", "objoid oid, classoid oid, objsubid int4, provider text, label text", ""},
      {"pg_sequence",
       "seqrelid oid, seqtypid oid, seqstart int8, seqincrement int8, seqmax int8, seqmin int8, seqcache int8, "
       "seqcycle bool",
       ""},
      {"pg_sequences",
       "schemaname name, sequencename name, sequenceowner name, data_type regtype, start_value int8, min_value "
       "int8, max_value int8, increment_by int8, cycle bool, cache_size int8, last_value int8",
       ""},
      {"pg_settings",
       "name text, setting text, unit text, category text, short_desc text, extra_desc text, context text, "
       "vartype text, source text, min_val text, max_val text, enumvals text[], boot_val text, reset_val text, "
       "sourcefile text, sourceline int4, pending_restart bool",
       R"(SELECT name, value AS setting, 'Millrace' AS category, 'user' AS context, 'string' AS vartype, 'session' AS source,
         value AS reset_val
  FROM door_settings)"},
      {"pg_shdepend", "dbid oid, classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, deptype char",
       ""},
      {"pg_shdescription", "objoid oid, classoid oid, description text", ""},
      {"pg_stat_activity",
       "datid oid, datname name, pid int4, leader_pid int4, usesysid oid, usename name, application_name text, "
       "client_addr inet, client_hostname text, client_port int4, backend_start timestamptz, xact_start "
       "timestamptz, query_start timestamptz, state_change timestamptz, wait_event_type text, wait_event text, "
       "state text, backend_xid xid, backend_xmin xid, query_id int8, query text, backend_type text",
       ""},
      {"pg_stat_all_tables",
       "relid oid, schemaname name, relname name, seq_scan int8, seq_tup_read int8, idx_scan int8, idx_tup_fetch "
       "int8, n_tup_ins int8, n_tup_upd int8, n_tup_del int8, n_tup_hot_upd int8, n_live_tup int8, n_dead_tup "
       "int8, n_mod_since_analyze int8, n_ins_since_vacuum int8, last_vacuum timestamptz, last_autovacuum "
       "timestamptz, last_analyze timestamptz, last_autoanalyze timestamptz, vacuum_count int8, autovacuum_count "
       "int8, analyze_count int8, autoanalyze_count int8",
       ""},
      {"pg_stat_database",
       "datid oid, datname name, numbackends int4, xact_commit int8, xact_rollback int8, blks_read int8, "
       "blks_hit int8, tup_returned int8, tup_fetched int8, tup_inserted int8, tup_updated int8, tup_deleted "
       "int8, conflicts int8, temp_files int8, temp_bytes int8, deadlocks int8, checksum_failures int8, "
       "checksum_last_failure timestamptz, blk_read_time float8, blk_write_time float8, session_time float8, "
       "active_time float8, idle_in_transaction_time float8, sessions int8, sessions_abandoned int8, "
       "sessions_fatal int8, sessions_killed int8, stats_reset timestamptz",
       ""},
      {"pg_stat_replication",
       "pid int4, usesysid oid, usename name, application_name text, client_addr inet, client_hostname text, "
       "client_port int4, backend_start timestamptz, backend_xmin xid, state text, sent_lsn pg_lsn, write_lsn "
       "pg_lsn, flush_lsn pg_lsn, replay_lsn pg_lsn, write_lag interval, flush_lag interval, replay_lag "
       "interval, sync_priority int4, sync_state text, reply_time timestamptz",
       ""},
      {"pg_stat_ssl",
       "pid int4, ssl bool, version text, cipher text, bits int4, client_dn text, client_serial numeric, "
       "issuer_dn text",
       ""},
      {"pg_stat_user_indexes",
       "relid oid, indexrelid oid, schemaname name, relname name, indexrelname name, idx_scan int8, idx_tup_read "
       "int8, idx_tup_fetch int8",
       ""},
      {"pg_stat_user_tables",
       "relid oid, schemaname name, relname name, seq_scan int8, seq_tup_read int8, idx_scan int8, idx_tup_fetch "
       "int8, n_tup_ins int8, n_tup_upd int8, n_tup_del int8, n_tup_hot_upd int8, n_live_tup int8, n_dead_tup "
       "int8, n_mod_since_analyze int8, n_ins_since_vacuum int8, last_vacuum timestamptz, last_autovacuum "
       "timestamptz, last_analyze timestamptz, last_autoanalyze timestamptz, vacuum_count int8, autovacuum_count "
       "int8, analyze_count int8, autoanalyze_count int8",
       ""},
      {"pg_statistic_ext",
       "oid oid, stxrelid oid, stxname name, stxnamespace oid, stxowner oid, stxstattarget int4, stxkeys "
       "int2vector, stxkind char[], stxexprs pg_node_tree",
       ""},
      {"pg_stats",
       "schemaname name, tablename name, attname name, inherited bool, null_frac float4, avg_width int4, "
       "n_distinct float4, most_common_vals anyarray, most_common_freqs float4[], histogram_bounds anyarray, "
       "correlation float4, most_common_elems anyarray, most_common_elem_freqs float4[], elem_count_histogram "
       "float4[]",
       ""},
      {"pg_subscription",
       "oid oid, subdbid oid, subskiplsn pg_lsn, subname name, subowner oid, subenabled bool, subbinary bool, "
       "substream bool, subtwophasestate char, subdisableonerr bool, subconninfo text, subslotname name, "
       "subsynccommit text, subpublications text[]",
       ""},
      {"pg_tables",
       "schemaname name, tablename name, tableowner name, tablespace name, hasindexes bool, hasrules bool, "
       "hastriggers bool, rowsecurity bool",
       R"(SELECT schema AS schemaname, name AS tablename, 'millrace' AS tableowner FROM door_relations WHERE kind = 'r')"},
      {"pg_tablespace", "oid oid, spcname name, spcowner oid, spcacl aclitem[], spcoptions text[]",
       R"(SELECT 1663 AS oid, 'pg_default' AS spcname, 10 AS spcowner)"},
      {"pg_timezone_names", "name text, abbrev text, utc_offset interval, is_dst bool", ""},
      {"pg_trigger",
       "oid oid, tgrelid oid, tgparentid oid, tgname name, tgfoid oid, tgtype int2, tgenabled char, tgisinternal "
       "bool, tgconstrrelid oid, tgconstrindid oid, tgconstraint oid, tgdeferrable bool, tginitdeferred bool, "
       "tgnargs int2, tgattr int2vector, tgargs bytea, tgqual pg_node_tree, tgoldtable name, tgnewtable name",
       ""},
      {"pg_ts_config", "oid oid, cfgname name, cfgnamespace oid, cfgowner oid, cfgparser oid", ""},
      {"pg_ts_dict", "oid oid, dictname name, dictnamespace oid, dictowner oid, dicttemplate oid, dictinitoption text",
       ""},
      {"pg_ts_parser",
       "oid oid, prsname name, prsnamespace oid, prsstart regproc, prstoken regproc, prsend regproc, prsheadline "
       "regproc, prslextype regproc",
       ""},
      {"pg_ts_template", "oid oid, tmplname name, tmplnamespace oid, tmplinit regproc, tmpllexize regproc", ""},
      {"pg_type",
       "oid oid, typname name, typnamespace oid, typowner oid, typlen int2, typbyval bool, typtype char, "
       "typcategory char, typispreferred bool, typisdefined bool, typdelim char, typrelid oid, typsubscript "
       "regproc, typelem oid, typarray oid, typinput regproc, typoutput regproc, typreceive regproc, typsend "
       "regproc, typmodin regproc, typmodout regproc, typanalyze regproc, typalign char, typstorage char, "
       "typnotnull bool, typbasetype oid, typtypmod int4, typndims int4, typcollation oid, typdefaultbin "
       "pg_node_tree, typdefault text, typacl aclitem[]",
       R"(SELECT oid, name AS typname, 11 AS typnamespace, 10 AS typowner, bytes AS typlen, bytes IN (1, 2, 4, 8) AS typbyval, 'b' AS typtype,
         category AS typcategory, name IN ('bool', 'float8', 'interval', 'oid', 'text', 'timestamptz') AS typispreferred,
         true AS typisdefined, ',' AS typdelim, array_oid AS typarray, 0 AS typelem, name || 'in' AS typinput, name || 'out' AS typoutput,
         name || 'recv' AS typreceive, name || 'send' AS typsend,
         CASE bytes WHEN 8 THEN 'd' WHEN 2 THEN 's' WHEN 1 THEN 'c' ELSE 'i' END AS typalign,
         CASE WHEN bytes < 0 THEN 'x' ELSE 'p' END AS typstorage, -1 AS typtypmod,
         CASE category WHEN 'S' THEN 100 ELSE 0 END AS typcollation
  FROM door_types
  UNION ALL
  SELECT array_oid, '_' || name, 11, 10, -1, false, 'b', 'A', false, true, ',', 0, oid, 'array_in', 'array_out', 'array_recv', 'array_send',
         'i', 'x', -1, CASE category WHEN 'S' THEN 100 ELSE 0 END
  FROM door_types)"},
      {"pg_user",
       "usename name, usesysid oid, usecreatedb bool, usesuper bool, userepl bool, usebypassrls bool, passwd "
       "text, valuntil timestamptz, useconfig text[]",
       R"(SELECT rolname AS usename, oid AS usesysid FROM pg_roles)"},
      {"pg_user_mapping", "oid oid, umuser oid, umserver oid, umoptions text[]", ""},
      {"pg_user_mappings", "umid oid, srvid oid, srvname name, umuser oid, usename name, umoptions text[]", ""},
      {"pg_views", "schemaname name, viewname name, viewowner name, definition text",
       R"(SELECT schema AS schemaname, name AS viewname, 'millrace' AS viewowner FROM door_relations WHERE kind = 'v')"},
      {"information_schema.applicable_roles",
       "grantee sql_identifier, role_name sql_identifier, is_grantable yes_or_no", ""},
      {"information_schema.character_sets",
       "character_set_catalog sql_identifier, character_set_schema sql_identifier, character_set_name "
       "sql_identifier, character_repertoire sql_identifier, form_of_use sql_identifier, default_collate_catalog "
       "sql_identifier, default_collate_schema sql_identifier, default_collate_name sql_identifier",
       ""},
      {"information_schema.check_constraints",
       "constraint_catalog sql_identifier, constraint_schema sql_identifier, constraint_name sql_identifier, "
       "check_clause character_data",
       ""},
      {"information_schema.collations",
       "collation_catalog sql_identifier, collation_schema sql_identifier, collation_name sql_identifier, "
       "pad_attribute character_data",
       ""},
      {"information_schema.column_privileges",
       "grantor sql_identifier, grantee sql_identifier, table_catalog sql_identifier, table_schema "
       "sql_identifier, table_name sql_identifier, column_name sql_identifier, privilege_type character_data, "
       "is_grantable yes_or_no",
       ""},
      {"information_schema.columns",
       "table_catalog sql_identifier, table_schema sql_identifier, table_name sql_identifier, column_name "
       "sql_identifier, ordinal_position cardinal_number, column_default character_data, is_nullable yes_or_no, "
       "data_type character_data, character_maximum_length cardinal_number, character_octet_length "
       "cardinal_number, numeric_precision cardinal_number, numeric_precision_radix cardinal_number, "
       "numeric_scale cardinal_number, datetime_precision cardinal_number, interval_type character_data, "
       "interval_precision cardinal_number, character_set_catalog sql_identifier, character_set_schema "
       "sql_identifier, character_set_name sql_identifier, collation_catalog sql_identifier, collation_schema "
       "sql_identifier, collation_name sql_identifier, domain_catalog sql_identifier, domain_schema "
       "sql_identifier, domain_name sql_identifier, udt_catalog sql_identifier, udt_schema sql_identifier, "
       "udt_name sql_identifier, scope_catalog sql_identifier, scope_schema sql_identifier, scope_name "
       "sql_identifier, maximum_cardinality cardinal_number, dtd_identifier sql_identifier, is_self_referencing "
       "yes_or_no, is_identity yes_or_no, identity_generation character_data, identity_start character_data, "
       "identity_increment character_data, identity_maximum character_data, identity_minimum character_data, "
       "identity_cycle yes_or_no, is_generated character_data, generation_expression character_data, "
       "is_updatable yes_or_no",
       R"(SELECT database_name AS table_catalog, r.schema AS table_schema, r.name AS table_name, c.name AS column_name,
         c.number AS ordinal_position, 'YES' AS is_nullable,
         CASE WHEN c.element <> 0 THEN 'ARRAY' ELSE format_type(c.type, NULL) END AS data_type,
         CASE c.type WHEN 21 THEN 16 WHEN 23 THEN 32 WHEN 20 THEN 64 WHEN 700 THEN 24 WHEN 701 THEN 53
                     WHEN 1700 THEN CASE WHEN c.modifier >= 4 THEN (c.modifier - 4) >> 16 END END AS numeric_precision,
         CASE WHEN c.type IN (20, 21, 23, 700, 701) THEN 2 WHEN c.type = 1700 THEN 10 END AS numeric_precision_radix,
         CASE WHEN c.type IN (20, 21, 23) THEN 0
              WHEN c.type = 1700 AND c.modifier >= 4 THEN (c.modifier - 4) & 65535 END AS numeric_scale,
         CASE WHEN c.type = 1082 THEN 0 WHEN c.type IN (1083, 1114, 1184, 1186) THEN 6 END AS datetime_precision,
         database_name AS udt_catalog, 'pg_catalog' AS udt_schema,
         CASE WHEN c.element <> 0 THEN '_' || e.name ELSE t.name END AS udt_name,
         CAST(c.number AS VARCHAR) AS dtd_identifier, 'NO' AS is_self_referencing, 'NO' AS is_identity, 'NO' AS identity_cycle,
         'NEVER' AS is_generated, 'NO' AS is_updatable
  FROM door_caller, door_columns c JOIN door_relations r ON r.oid = c.relation
       LEFT JOIN door_types t ON t.oid = c.type LEFT JOIN door_types e ON e.oid = c.element)"},
      {"information_schema.constraint_column_usage",
       "table_catalog sql_identifier, table_schema sql_identifier, table_name sql_identifier, column_name "
       "sql_identifier, constraint_catalog sql_identifier, constraint_schema sql_identifier, constraint_name "
       "sql_identifier",
       ""},
      {"information_schema.constraint_table_usage",
       "table_catalog sql_identifier, table_schema sql_identifier, table_name sql_identifier, constraint_catalog "
       "sql_identifier, constraint_schema sql_identifier, constraint_name sql_identifier",
       ""},
      {"information_schema.domains",
       "domain_catalog sql_identifier, domain_schema sql_identifier, domain_name sql_identifier, data_type "
       "character_data, character_maximum_length cardinal_number, character_octet_length cardinal_number, "
       "character_set_catalog sql_identifier, character_set_schema sql_identifier, character_set_name "
       "sql_identifier, collation_catalog sql_identifier, collation_schema sql_identifier, collation_name "
       "sql_identifier, numeric_precision cardinal_number, numeric_precision_radix cardinal_number, "
       "numeric_scale cardinal_number, datetime_precision cardinal_number, interval_type character_data, "
       "interval_precision cardinal_number, domain_default character_data, udt_catalog sql_identifier, "
       "udt_schema sql_identifier, udt_name sql_identifier, scope_catalog sql_identifier, scope_schema "
       "sql_identifier, scope_name sql_identifier, maximum_cardinality cardinal_number, dtd_identifier "
       "sql_identifier",
       ""},
      {"information_schema.element_types",
       "object_catalog sql_identifier, object_schema sql_identifier, object_name sql_identifier, object_type "
       "character_data, collection_type_identifier sql_identifier, data_type character_data, "
       "character_maximum_length cardinal_number, character_octet_length cardinal_number, character_set_catalog "
       "sql_identifier, character_set_schema sql_identifier, character_set_name sql_identifier, "
       "collation_catalog sql_identifier, collation_schema sql_identifier, collation_name sql_identifier, "
       "numeric_precision cardinal_number, numeric_precision_radix cardinal_number, numeric_scale "
       "cardinal_number, datetime_precision cardinal_number, interval_type character_data, interval_precision "
       "cardinal_number, domain_default character_data, udt_catalog sql_identifier, udt_schema sql_identifier, "
       "udt_name sql_identifier, scope_catalog sql_identifier, scope_schema sql_identifier, scope_name "
       "sql_identifier, maximum_cardinality cardinal_number, dtd_identifier sql_identifier",
       ""},
      {"information_schema.enabled_roles", "role_name sql_identifier", R"(SELECT rolname AS role_name FROM pg_roles)"},
      {"information_schema.information_schema_catalog_name", "catalog_name sql_identifier",
       R"(SELECT database_name AS catalog_name FROM door_caller)"},
      {"information_schema.key_column_usage",
       "constraint_catalog sql_identifier, constraint_schema sql_identifier, constraint_name sql_identifier, "
       "table_catalog sql_identifier, table_schema sql_identifier, table_name sql_identifier, column_name "
       "sql_identifier, ordinal_position cardinal_number, position_in_unique_constraint cardinal_number",
       ""},
      {"information_schema.parameters",
       "specific_catalog sql_identifier, specific_schema sql_identifier, specific_name sql_identifier, "
       "ordinal_position cardinal_number, parameter_mode character_data, is_result yes_or_no, as_locator "
       "yes_or_no, parameter_name sql_identifier, data_type character_data, character_maximum_length "
       "cardinal_number, character_octet_length cardinal_number, character_set_catalog sql_identifier, "
       "character_set_schema sql_identifier, character_set_name sql_identifier, collation_catalog "
       "sql_identifier, collation_schema sql_identifier, collation_name sql_identifier, numeric_precision "
       "cardinal_number, numeric_precision_radix cardinal_number, numeric_scale cardinal_number, "
       "datetime_precision cardinal_number, interval_type character_data, interval_precision cardinal_number, "
       "udt_catalog sql_identifier, udt_schema sql_identifier, udt_name sql_identifier, scope_catalog "
       "sql_identifier, scope_schema sql_identifier, scope_name sql_identifier, maximum_cardinality "
       "cardinal_number, dtd_identifier sql_identifier, parameter_default character_data",
       ""},
      {"information_schema.referential_constraints",
       "constraint_catalog sql_identifier, constraint_schema sql_identifier, constraint_name sql_identifier, "
       "unique_constraint_catalog sql_identifier, unique_constraint_schema sql_identifier, "
       "unique_constraint_name sql_identifier, match_option character_data, update_rule character_data, "
       "delete_rule character_data",
       ""},
      {"information_schema.role_table_grants", kPrivilegeColumns, kPrivileges},
      {"information_schema.routines",
       "specific_catalog sql_identifier, specific_schema sql_identifier, specific_name sql_identifier, "
       "routine_catalog sql_identifier, routine_schema sql_identifier, routine_name sql_identifier, routine_type "
       "character_data, module_catalog sql_identifier, module_schema sql_identifier, module_name sql_identifier, "
       "udt_catalog sql_identifier, udt_schema sql_identifier, udt_name sql_identifier, data_type "
       "character_data, character_maximum_length cardinal_number, character_octet_length cardinal_number, "
       "character_set_catalog sql_identifier, character_set_schema sql_identifier, character_set_name "
       "sql_identifier, collation_catalog sql_identifier, collation_schema sql_identifier, collation_name "
       "sql_identifier, numeric_precision cardinal_number, numeric_precision_radix cardinal_number, "
       "numeric_scale cardinal_number, datetime_precision cardinal_number, interval_type character_data, "
       "interval_precision cardinal_number, type_udt_catalog sql_identifier, type_udt_schema sql_identifier, "
       "type_udt_name sql_identifier, scope_catalog sql_identifier, scope_schema sql_identifier, scope_name "
       "sql_identifier, maximum_cardinality cardinal_number, dtd_identifier sql_identifier, routine_body "
       "character_data, routine_definition character_data, external_name character_data, external_language "
       "character_data, parameter_style character_data, is_deterministic yes_or_no, sql_data_access "
       "character_data, is_null_call yes_or_no, sql_path character_data, schema_level_routine yes_or_no, "
       "max_dynamic_result_sets cardinal_number, is_user_defined_cast yes_or_no, is_implicitly_invocable "
       "yes_or_no, security_type character_data, to_sql_specific_catalog sql_identifier, to_sql_specific_schema "
       "sql_identifier, to_sql_specific_name sql_identifier, as_locator yes_or_no, created time_stamp, "
       "last_altered time_stamp, new_savepoint_level yes_or_no, is_udt_dependent yes_or_no, "
       "result_cast_from_data_type character_data, result_cast_as_locator yes_or_no, result_cast_char_max_length "
       "cardinal_number, result_cast_char_octet_length cardinal_number, result_cast_char_set_catalog "
       "sql_identifier, result_cast_char_set_schema sql_identifier, result_cast_char_set_name sql_identifier, "
       "result_cast_collation_catalog sql_identifier, result_cast_collation_schema sql_identifier, "
       "result_cast_collation_name sql_identifier, result_cast_numeric_precision cardinal_number, "
       "result_cast_numeric_precision_radix cardinal_number, result_cast_numeric_scale cardinal_number, "
       "result_cast_datetime_precision cardinal_number, result_cast_interval_type character_data, "
       "result_cast_interval_precision cardinal_number, result_cast_type_udt_catalog sql_identifier, "
       "result_cast_type_udt_schema sql_identifier, result_cast_type_udt_name sql_identifier, "
       "result_cast_scope_catalog sql_identifier, result_cast_scope_schema sql_identifier, "
       "result_cast_scope_name sql_identifier, result_cast_maximum_cardinality cardinal_number, "
       "result_cast_dtd_identifier sql_identifier",
       ""},
      {"information_schema.schemata",
       "catalog_name sql_identifier, schema_name sql_identifier, schema_owner sql_identifier, "
       "default_character_set_catalog sql_identifier, default_character_set_schema sql_identifier, "
       "default_character_set_name sql_identifier, sql_path character_data",
       R"(SELECT database_name AS catalog_name, nspname AS schema_name, 'millrace' AS schema_owner FROM door_caller, pg_namespace)"},
      {"information_schema.sequences",
       "sequence_catalog sql_identifier, sequence_schema sql_identifier, sequence_name sql_identifier, data_type "
       "character_data, numeric_precision cardinal_number, numeric_precision_radix cardinal_number, "
       "numeric_scale cardinal_number, start_value character_data, minimum_value character_data, maximum_value "
       "character_data, increment character_data, cycle_option yes_or_no",
       ""},
      {"information_schema.table_constraints",
       "constraint_catalog sql_identifier, constraint_schema sql_identifier, constraint_name sql_identifier, "
       "table_catalog sql_identifier, table_schema sql_identifier, table_name sql_identifier, constraint_type "
       "character_data, is_deferrable yes_or_no, initially_deferred yes_or_no, enforced yes_or_no, "
       "nulls_distinct yes_or_no",
       ""},
      {"information_schema.table_privileges", kPrivilegeColumns, kPrivileges},
      {"information_schema.tables",
       "table_catalog sql_identifier, table_schema sql_identifier, table_name sql_identifier, table_type "
       "character_data, self_referencing_column_name sql_identifier, reference_generation character_data, "
       "user_defined_type_catalog sql_identifier, user_defined_type_schema sql_identifier, "
       "user_defined_type_name sql_identifier, is_insertable_into yes_or_no, is_typed yes_or_no, commit_action "
       "character_data",
       R"(SELECT database_name AS table_catalog, schema AS table_schema, name AS table_name,
         CASE kind WHEN 'r' THEN 'BASE TABLE' ELSE 'VIEW' END AS table_type, 'NO' AS is_insertable_into, 'NO' AS is_typed
  FROM door_caller, door_relations)"},
      {"information_schema.triggers",
       "trigger_catalog sql_identifier, trigger_schema sql_identifier, trigger_name sql_identifier, "
       "event_manipulation character_data, event_object_catalog sql_identifier, event_object_schema "
       "sql_identifier, event_object_table sql_identifier, action_order cardinal_number, action_condition "
       "character_data, action_statement character_data, action_orientation character_data, action_timing "
       "character_data, action_reference_old_table sql_identifier, action_reference_new_table sql_identifier, "
       "action_reference_old_row sql_identifier, action_reference_new_row sql_identifier, created time_stamp",
       ""},
      {"information_schema.user_defined_types",
       "user_defined_type_catalog sql_identifier, user_defined_type_schema sql_identifier, "
       "user_defined_type_name sql_identifier, user_defined_type_category character_data, is_instantiable "
       "yes_or_no, is_final yes_or_no, ordering_form character_data, ordering_category character_data, "
       "ordering_routine_catalog sql_identifier, ordering_routine_schema sql_identifier, ordering_routine_name "
       "sql_identifier, reference_type character_data, data_type character_data, character_maximum_length "
       "cardinal_number, character_octet_length cardinal_number, character_set_catalog sql_identifier, "
       "character_set_schema sql_identifier, character_set_name sql_identifier, collation_catalog "
       "sql_identifier, collation_schema sql_identifier, collation_name sql_identifier, numeric_precision "
       "cardinal_number, numeric_precision_radix cardinal_number, numeric_scale cardinal_number, "
       "datetime_precision cardinal_number, interval_type character_data, interval_precision cardinal_number, "
       "source_dtd_identifier sql_identifier, ref_dtd_identifier sql_identifier",
       ""},
      {"information_schema.view_table_usage",
       "view_catalog sql_identifier, view_schema sql_identifier, view_name sql_identifier, table_catalog "
       "sql_identifier, table_schema sql_identifier, table_name sql_identifier",
       ""},
      {"information_schema.views",
       "table_catalog sql_identifier, table_schema sql_identifier, table_name sql_identifier, view_definition "
       "character_data, check_option character_data, is_updatable yes_or_no, is_insertable_into yes_or_no, "
       "is_trigger_updatable yes_or_no, is_trigger_deletable yes_or_no, is_trigger_insertable_into yes_or_no",
       R"(SELECT database_name AS table_catalog, schema AS table_schema, name AS table_name, 'NONE' AS check_option, 'NO' AS is_updatable,
         'NO' AS is_insertable_into, 'NO' AS is_trigger_updatable, 'NO' AS is_trigger_deletable,
         'NO' AS is_trigger_insertable_into
  FROM door_caller, door_relations WHERE kind = 'v')"},
      {"pg_get_keywords", "word text, catcode char, catdesc text", ""},
  };
  return kRelations;
}

// Of a type's number and modifier, as types.h has them.
std::string FormatType() {
  std::string cases;
  for (const auto& type : Types()) {
    const std::string name = sql::QuoteLiteral(type.sql_name);
    const std::string whole =
        type.oid == oid::kNumeric
            ? fmt::format("CASE WHEN m >= 4 THEN printf('numeric(%d,%d)', (m - 4) >> 16, (m - 4) & 65535) ELSE {} END",
                          name)
            : name;
    cases += fmt::format(" WHEN {} THEN {} WHEN {} THEN {} || '[]'", type.oid, whole, type.array, whole);
  }
  return fmt::format("(t, m) AS CASE CAST(t AS BIGINT){} ELSE CASE WHEN t IS NOT NULL THEN '\?\?\?' END END", cases);
}

Result<std::string> ViewOf(sql::SqlSession& session, const CatalogRelation& relation) {
  std::set<std::string, std::less<>> said;
  if (!relation.rows.empty()) {
    ASSIGN_OR_RETURN(const auto columns, session.Describe(std::string(relation.rows)));
    for (const auto& column : columns) said.insert(column.name);
  }
  std::vector<std::string> columns;
  for (const auto& [name, type] : ColumnsOf(relation)) {
    const auto shape = TypeOfColumn(type);
    const std::string quoted = sql::QuoteIdentifier(name);
    const bool is_said = said.erase(std::string(name)) > 0;
    columns.push_back(
        fmt::format("CAST({} AS {}) AS {}", is_said ? quoted : std::string(shape.otherwise), shape.duckdb, quoted));
  }
  if (!said.empty()) return Internal("{} has no column {}", relation.name, *said.begin());
  return fmt::format("CREATE VIEW {} AS SELECT {} FROM {}", sql::QuoteIdentifier(relation.name),
                     fmt::join(columns, ", "),
                     relation.rows.empty() ? "(SELECT 1) WHERE false" : fmt::format("({})", relation.rows));
}

}  // namespace

const std::vector<CatalogRelation>& CatalogRelations() { return Relations(); }

const CatalogRelation* FindRelation(std::string_view name) {
  const auto& all = Relations();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == name; });
  return found == all.end() ? nullptr : &*found;
}

std::vector<std::pair<std::string_view, std::string_view>> ColumnsOf(const CatalogRelation& relation) {
  std::vector<std::pair<std::string_view, std::string_view>> columns;
  std::string_view rest = relation.columns;
  while (!rest.empty()) {
    const auto end = std::min(rest.find(", "), rest.size());
    const std::string_view column = rest.substr(0, end);
    const auto blank = column.find(' ');
    columns.emplace_back(column.substr(0, blank), column.substr(blank + 1));
    rest.remove_prefix(std::min(end + 2, rest.size()));
  }
  return columns;
}

bool IsCatalogFunction(std::string_view name) {
  if (name == "version" || name == "format_type") return true;
  return std::any_of(std::begin(kFunctions), std::end(kFunctions), [&](const auto& one) { return one.first == name; });
}

std::vector<std::string> CatalogFunctions() {
  std::vector<std::string> names = {"version", "format_type"};
  for (const auto& [name, body] : kFunctions) names.emplace_back(name);
  return names;
}

Status DefineCatalog(sql::SqlSession& session) {
  for (const auto& [name, type] : kCastTypes) {
    RETURN_NOT_OK(session.Query(fmt::format("CREATE TYPE {} AS {}", name, type)).status());
  }
  const auto define = [&](std::string_view name, std::string_view body) {
    return WithContext(session.Query(fmt::format("CREATE MACRO {}{}", name, body)).status(), "{}()", name);
  };
  RETURN_NOT_OK(define("version", "() AS " + sql::QuoteLiteral(kVersionText)));
  RETURN_NOT_OK(define("format_type", FormatType()));
  for (const auto& [name, body] : kFunctions) RETURN_NOT_OK(define(name, body));
  for (const auto& relation : Relations()) {
    const auto view = ViewOf(session, relation);
    RETURN_NOT_OK(WithContext(view.ok() ? session.Query(*view).status() : view.status(), "{}", relation.name));
  }
  return Status::OK();
}

}  // namespace millrace::postgres
