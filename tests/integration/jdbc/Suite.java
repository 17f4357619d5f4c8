// pgjdbc through pgsteer. Prints "ok NAME" or "not ok NAME: why" for each case; jdbc_test.py reads
// that, and finds the markers in the servers' logs.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;

public final class Suite {
    interface Case {
        void run(Connection connection) throws Exception;
    }

    private static final String PREFIX = System.getenv("MARKER");
    private static final String TABLE = "jdbc_" + PREFIX;
    private static final Map<String, Case> CASES = new LinkedHashMap<>();

    static {
        CASES.put("read_on_replica", Suite::readOnReplica);
        CASES.put("write_on_primary", Suite::writeOnPrimary);
        CASES.put("parameters", Suite::parameters);
        CASES.put("transaction_with_error_and_savepoint", Suite::transaction);
        CASES.put("read_only_transaction", Suite::readOnlyTransaction);
        CASES.put("prepared_twenty_times", Suite::preparedTwentyTimes);
        CASES.put("bytea_of_8_mb", Suite::bigBytea);
        CASES.put("twenty_thousand_rows", Suite::manyRows);
        CASES.put("copy_both_ways", Suite::copyBothWays);
        CASES.put("cursor_by_portions", Suite::cursor);
        CASES.put("listen_and_notify", Suite::listenAndNotify);
        CASES.put("set_and_show", Suite::setAndShow);
        CASES.put("temporary_tables", Suite::temporaryTables);
        CASES.put("cancel_of_pg_sleep", Suite::cancelOfSleep);
        CASES.put("batch", Suite::batch);
        CASES.put("simple_query_mode", Suite::simpleQueryMode);
        CASES.put("metadata", Suite::metadata);
        CASES.put("generated_keys", Suite::generatedKeys);
    }

    private static String marker(String name) {
        return "/* " + PREFIX + "_" + name + " */";
    }

    private static void check(boolean truth, String what) {
        if (!truth) {
            throw new AssertionError(what);
        }
    }

    private static String one(Connection connection, String query) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(query)) {
            return rows.next() ? rows.getString(1) : null;
        }
    }

    private static void run(Connection connection, String query) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(query);
        }
    }

    private static void fails(Connection connection, String query, String state) throws SQLException {
        try {
            run(connection, query);
        } catch (SQLException error) {
            check(error.getSQLState().equals(state), "SQLSTATE " + error.getSQLState());
            return;
        }
        throw new AssertionError("no error from " + query);
    }

    private static void readOnReplica(Connection connection) throws Exception {
        check("1".equals(one(connection, "SELECT 1 " + marker("read"))), "one");
    }

    private static void writeOnPrimary(Connection connection) throws Exception {
        try (PreparedStatement insert = connection.prepareStatement(
                "INSERT INTO " + TABLE + " VALUES (?, ?) " + marker("write"))) {
            insert.setInt(1, 1);
            insert.setString(2, "one");
            check(insert.executeUpdate() == 1, "one row");
        }
        check("one".equals(one(connection, "SELECT body FROM " + TABLE + " WHERE id = 1")), "read back");
    }

    private static void parameters(Connection connection) throws Exception {
        try (PreparedStatement select = connection.prepareStatement(
                "SELECT ?::int, ?::int8, ?::float8, ?::text, ?::bytea, ?::text, ?::bool")) {
            select.setInt(1, 7);
            select.setLong(2, 1L << 40);
            select.setDouble(3, 1.5);
            select.setString(4, "text ' \" \\ ü€");
            select.setBytes(5, new byte[] {0, -1});
            select.setNull(6, Types.VARCHAR);
            select.setBoolean(7, true);
            try (ResultSet rows = select.executeQuery()) {
                check(rows.next(), "a row");
                check(rows.getInt(1) == 7 && rows.getLong(2) == 1L << 40, "integers");
                check(rows.getDouble(3) == 1.5, "double");
                check(rows.getString(4).equals("text ' \" \\ ü€"), "text");
                check(Arrays.equals(rows.getBytes(5), new byte[] {0, -1}), "bytes");
                check(rows.getString(6) == null && rows.getBoolean(7), "null and bool");
            }
        }
    }

    private static void transaction(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        run(connection, "INSERT INTO " + TABLE + " VALUES (10) " + marker("transaction"));
        Savepoint savepoint = connection.setSavepoint();
        fails(connection, "INSERT INTO " + TABLE + " VALUES (10)", "23505");
        fails(connection, "SELECT 1", "25P02");
        connection.rollback(savepoint);
        run(connection, "INSERT INTO " + TABLE + " VALUES (11)");
        connection.commit();
        run(connection, "DELETE FROM " + TABLE + " WHERE id IN (10, 11)");
        connection.rollback();
        check("2".equals(one(connection,
                "SELECT count(*) FROM " + TABLE + " WHERE id IN (10, 11)")), "two rows");
        connection.commit();
    }

    private static void readOnlyTransaction(Connection connection) throws Exception {
        connection.setReadOnly(true);
        connection.setAutoCommit(false);
        check("1".equals(one(connection, "SELECT 1 " + marker("read_only"))), "one");
        fails(connection, "INSERT INTO " + TABLE + " VALUES (12)", "25006");
        connection.rollback();
        connection.setReadOnly(false);
        run(connection, "INSERT INTO " + TABLE + " VALUES (12)");
        connection.commit();
    }

    // From the fifth execution on, pgjdbc uses a named server-side statement.
    private static void preparedTwentyTimes(Connection connection) throws Exception {
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO " + TABLE + " VALUES (?, ?)");
                PreparedStatement select =
                        connection.prepareStatement("SELECT body FROM " + TABLE + " WHERE id = ?")) {
            for (int n = 100; n < 140; n++) {
                if (n < 120) {
                    insert.setInt(1, n);
                    insert.setString(2, "row " + n);
                    insert.executeUpdate();
                } else if (n == 120) {
                    Thread.sleep(200);
                }
                select.setInt(1, n < 120 ? n : n - 20);
                try (ResultSet rows = select.executeQuery()) {
                    check(rows.next(), "a row");
                    check(rows.getString(1).equals("row " + (n < 120 ? n : n - 20)), "row " + n);
                }
            }
        }
    }

    private static void bigBytea(Connection connection) throws Exception {
        byte[] big = new byte[8 << 20];
        Arrays.fill(big, (byte) 0xab);
        try (PreparedStatement insert = connection.prepareStatement(
                "INSERT INTO " + TABLE + " (id, data) VALUES (200, ?)")) {
            insert.setBytes(1, big);
            insert.executeUpdate();
        }
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT data FROM " + TABLE + " WHERE id = 200")) {
            check(rows.next() && Arrays.equals(rows.getBytes(1), big), "the same bytes");
        }
    }

    private static void manyRows(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(
                        "SELECT n FROM generate_series(1, 20000) n " + marker("rows"))) {
            int count = 0;
            while (rows.next()) {
                check(rows.getInt(1) == ++count, "row " + count);
            }
            check(count == 20000, "all rows");
        }
    }

    private static void copyBothWays(Connection connection) throws Exception {
        StringBuilder lines = new StringBuilder();
        for (int n = 0; n < 20000; n++) {
            lines.append(n + 1000).append("\tline ").append(n).append('\n');
        }
        CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
        copy.copyIn("COPY " + TABLE + " (id, body) FROM STDIN", new StringReader(lines.toString()));
        StringWriter out = new StringWriter();
        copy.copyOut("COPY (SELECT id, body FROM " + TABLE + " WHERE id >= 1000 ORDER BY id) TO STDOUT", out);
        check(out.toString().contentEquals(lines), "the same lines");
    }

    private static void cursor(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(100);
            try (ResultSet rows = statement.executeQuery("SELECT n FROM generate_series(1, 1000) n")) {
                int count = 0;
                while (rows.next()) {
                    check(rows.getInt(1) == ++count, "row " + count);
                }
                check(count == 1000, "all rows");
            }
        }
        connection.commit();
    }

    private static void listenAndNotify(Connection connection) throws Exception {
        run(connection, "LISTEN jdbc_channel");
        one(connection, "SELECT 1");
        try (Connection sender = connect("")) {
            run(sender, "NOTIFY jdbc_channel, 'payload'");
        }
        PGNotification[] received = connection.unwrap(PGConnection.class).getNotifications(10000);
        check(received != null && received.length == 1, "one notification");
        check(received[0].getParameter().equals("payload"), "its payload");
    }

    private static void setAndShow(Connection connection) throws Exception {
        run(connection, "SET work_mem = '7MB'");
        check("7MB".equals(one(connection, "SHOW work_mem")), "SHOW");
        check("7MB".equals(one(connection, "SELECT current_setting('work_mem')")), "current_setting");
    }

    private static void temporaryTables(Connection connection) throws Exception {
        run(connection, "CREATE TEMP TABLE scratch AS SELECT generate_series(1, 10) AS n");
        check("55".equals(one(connection, "SELECT sum(n) FROM scratch")), "sum");
    }

    private static void cancelOfSleep(Connection connection) throws Exception {
        long started = System.nanoTime();
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);  // pgjdbc sends a CancelRequest
            statement.executeQuery("SELECT pg_sleep(30)");
            throw new AssertionError("not cancelled");
        } catch (SQLException error) {
            check(error.getSQLState().equals("57014"), "SQLSTATE " + error.getSQLState());
        }
        check(System.nanoTime() - started < 20_000_000_000L, "in time");
        check("1".equals(one(connection, "SELECT 1")), "usable afterwards");
    }

    private static void batch(Connection connection) throws Exception {
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO " + TABLE + " VALUES (?, ?)")) {
            for (int n = 0; n < 2000; n++) {
                insert.setInt(1, 500_000 + n);
                insert.setString(2, "batch " + n);
                insert.addBatch();
            }
            check(insert.executeBatch().length == 2000, "2000 results");
        }
        check("2000".equals(one(connection,
                "SELECT count(*) FROM " + TABLE + " WHERE id >= 500000")), "2000 rows");
    }

    private static void simpleQueryMode(Connection unused) throws Exception {
        try (Connection simple = connect("preferQueryMode=simple")) {
            run(simple, "INSERT INTO " + TABLE + " VALUES (700, 'a'); INSERT INTO " + TABLE
                    + " VALUES (701, 'b')");
            try (PreparedStatement select = simple.prepareStatement(
                    "SELECT body FROM " + TABLE + " WHERE id = ?")) {
                select.setInt(1, 701);
                try (ResultSet rows = select.executeQuery()) {
                    check(rows.next() && rows.getString(1).equals("b"), "the row");
                }
            }
        }
    }

    private static void metadata(Connection connection) throws Exception {
        try (ResultSet columns = connection.getMetaData().getColumns(null, null, TABLE, null)) {
            int count = 0;
            while (columns.next()) {
                count++;
            }
            check(count == 3, count + " columns");
        }
    }

    private static void generatedKeys(Connection connection) throws Exception {
        try (PreparedStatement insert = connection.prepareStatement(
                "INSERT INTO " + TABLE + " VALUES (800)", Statement.RETURN_GENERATED_KEYS)) {
            insert.executeUpdate();
            try (ResultSet keys = insert.getGeneratedKeys()) {
                check(keys.next() && keys.getInt("id") == 800, "the key");
            }
        }
    }

    private static Connection connect(String options) throws SQLException {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
                + System.getenv("PGDATABASE") + "?socketTimeout=60&loginTimeout=20"
                + (options.isEmpty() ? "" : "&" + options);
        return DriverManager.getConnection(url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection owner = connect("")) {
            run(owner, "CREATE TABLE " + TABLE + " (id int PRIMARY KEY, body text, data bytea)");
            for (Map.Entry<String, Case> entry : CASES.entrySet()) {
                try (Connection connection = connect("")) {
                    entry.getValue().run(connection);
                    System.out.println("ok " + entry.getKey());
                } catch (Throwable error) {
                    System.out.println("not ok " + entry.getKey() + ": "
                            + error.toString().replace('\n', ' ') + " at " + error.getStackTrace()[0]);
                }
            }
            run(owner, "DROP TABLE " + TABLE);
        }
    }
}
