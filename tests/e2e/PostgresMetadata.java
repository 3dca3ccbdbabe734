import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ResultSet;

/** Says what the JDBC driver finds by itself behind a URL, a line a thing: "table: clicks.public.clicks TABLE". */
public class PostgresMetadata {
  public static void main(String[] arguments) throws Exception {
    try (Connection connection = DriverManager.getConnection(arguments[0])) {
      DatabaseMetaData metadata = connection.getMetaData();
      System.out.println("product: " + metadata.getDatabaseProductName() + " " + metadata.getDatabaseProductVersion());
      metadata.getSQLKeywords();
      metadata.getMaxColumnNameLength();
      tables("table", metadata.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"}));
      tables("escaped table", metadata.getTables(null, "public", "clicks\\_1m", null));
      try (ResultSet rows = metadata.getColumns(null, "public", "%", "%")) {
        while (rows.next()) {
          System.out.println("column: " + rows.getString("TABLE_NAME") + "." + rows.getString("COLUMN_NAME") + " "
              + rows.getString("TYPE_NAME") + " " + rows.getInt("COLUMN_SIZE") + " " + rows.getInt("DECIMAL_DIGITS"));
        }
      }
      list("schema", metadata.getSchemas(), "TABLE_SCHEM");
      list("catalog", metadata.getCatalogs(), "TABLE_CAT");
      list("type", metadata.getTypeInfo(), "TYPE_NAME");
      System.out.println("counts: keys " + count(metadata.getPrimaryKeys(null, "public", "clicks")) + ", indexes "
          + count(metadata.getIndexInfo(null, "public", "clicks", false, true)) + ", imported "
          + count(metadata.getImportedKeys(null, "public", "clicks")) + ", exported "
          + count(metadata.getExportedKeys(null, "public", "clicks")) + ", functions "
          + count(metadata.getFunctions(null, "public", "%")) + ", procedures "
          + count(metadata.getProcedures(null, "public", "%")));
      count(metadata.getTablePrivileges(null, "public", "%"));
      count(metadata.getClientInfoProperties());
      int asked = 0;
      long rows = 0;
      try (var statement = connection.prepareStatement("SELECT count(*) AS n FROM public.clicks WHERE amount > ?")) {
        for (; asked < 20; ++asked) {
          statement.setBigDecimal(1, new java.math.BigDecimal("-1.50"));
          try (ResultSet answer = statement.executeQuery()) {
            answer.next();
            rows = answer.getLong("n");
            answer.getMetaData().getColumnTypeName(1);
            answer.getMetaData().isNullable(1);
          }
        }
      }
      System.out.println("asked: " + rows + " " + asked + " times");
    }
  }

  private static void tables(String topic, ResultSet rows) throws Exception {
    while (rows.next()) {
      System.out.println(topic + ": " + rows.getString("TABLE_CAT") + "." + rows.getString("TABLE_SCHEM") + "."
          + rows.getString("TABLE_NAME") + " " + rows.getString("TABLE_TYPE"));
    }
  }

  private static void list(String topic, ResultSet rows, String column) throws Exception {
    while (rows.next()) {
      System.out.println(topic + ": " + rows.getString(column));
    }
  }

  private static int count(ResultSet rows) throws Exception {
    int count = 0;
    while (rows.next()) {
      ++count;
    }
    return count;
  }
}
