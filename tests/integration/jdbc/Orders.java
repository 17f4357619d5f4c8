// Orders and invoices on JDBC with autocommit off, as application servers use it.
//
//     java Orders migrate|work
//
// It connects as libpq's variables say. Each desk knows what it has ordered, and fails when the database tells
// anything else.

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

public final class Orders {
    private static final int DESKS = 3;
    private static final int ROUNDS = 40;
    private static final int READS_A_ROUND = 6;
    private static final String UNIQUE_VIOLATION = "23505";

    private static Connection connect() throws SQLException {
        Map<String, String> env = System.getenv();
        String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE");
        return DriverManager.getConnection(url, env.get("PGUSER"), env.get("PGPASSWORD"));
    }

    private static void check(Object found, Object wanted, String what) {
        if (!found.equals(wanted)) {
            throw new AssertionError(what + ": " + found + " instead of " + wanted);
        }
    }

    /** One connection, whose prepared statements are used again and again. */
    private static final class Desk implements AutoCloseable {
        private final Connection connection = connect();
        private final String customer;
        private final Map<Integer, Integer> orders = new TreeMap<>();  // number -> quantity, as it has to be

        private final PreparedStatement insert;
        private final PreparedStatement change;
        private final PreparedStatement lock;
        private final PreparedStatement byNumber;
        private final PreparedStatement total;
        private final PreparedStatement list;
        private final PreparedStatement invoice;

        Desk(int number) throws SQLException {
            customer = "customer " + number;
            connection.setAutoCommit(false);
            insert = connection.prepareStatement(
                    "INSERT INTO jdbc_orders (customer, number, quantity, price) VALUES (?, ?, ?, ?)");
            change = connection.prepareStatement(
                    "UPDATE jdbc_orders SET quantity = ? WHERE customer = ? AND number = ?");
            lock = connection.prepareStatement(
                    "SELECT quantity FROM jdbc_orders WHERE customer = ? AND number = ? FOR UPDATE");
            byNumber = connection.prepareStatement(
                    "SELECT quantity, price FROM jdbc_orders WHERE customer = ? AND number = ?");
            total = connection.prepareStatement(
                    "SELECT count(*), coalesce(sum(quantity), 0) FROM jdbc_orders WHERE customer = ?");
            list = connection.prepareStatement(
                    "SELECT number, quantity FROM jdbc_orders WHERE customer = ? ORDER BY number");
            invoice = connection.prepareStatement("SELECT c.address, sum(o.quantity * o.price)"
                    + " FROM jdbc_customers c JOIN jdbc_orders o ON o.customer = c.name WHERE c.name = ? GROUP BY 1");
            try (PreparedStatement add = connection.prepareStatement("INSERT INTO jdbc_customers VALUES (?, ?)")) {
                add.setString(1, customer);
                add.setString(2, "street " + number);
                check(add.executeUpdate(), 1, "new customers");
            }
            connection.commit();
        }

        void work() throws SQLException {
            for (int round = 1; round <= ROUNDS; round++) {
                write(round);
                for (int n = 0; n < READS_A_ROUND; n++) {
                    checkList();
                    checkOne(1 + (round + n) % orders.size());
                    checkInvoice();
                }
                if (round % 5 == 0) {
                    report();
                }
            }
        }

        @Override
        public void close() throws SQLException {
            connection.close();
        }

        private void write(int round) throws SQLException {
            switch (round % 5) {
                case 1: placeBatch(4); break;
                case 2: increase(1 + round % orders.size()); break;
                case 3: changeOfMind(); break;
                case 4: placeWithDuplicate(); break;
                default: place(); break;
            }
            checkList();
        }

        // --- writing

        private void add(int number, int quantity) throws SQLException {
            insert.setString(1, customer);
            insert.setInt(2, number);
            insert.setInt(3, quantity);
            insert.setBigDecimal(4, new BigDecimal("2.50"));
        }

        /** Reads first what the next number is. */
        private void place() throws SQLException {
            int next = count() + 1;
            add(next, 1);
            check(insert.executeUpdate(), 1, "new orders");
            connection.commit();
            orders.put(next, 1);
        }

        private void placeBatch(int size) throws SQLException {
            int next = count() + 1;
            for (int n = 0; n < size; n++) {
                add(next + n, n + 1);
                insert.addBatch();
            }
            check(insert.executeBatch().length, size, "batch");
            connection.commit();
            for (int n = 0; n < size; n++) {
                orders.put(next + n, n + 1);
            }
        }

        private void increase(int number) throws SQLException {
            lock.setString(1, customer);
            lock.setInt(2, number);
            int quantity;
            try (ResultSet rows = lock.executeQuery()) {
                check(rows.next(), true, "the order that is locked");
                quantity = rows.getInt(1);
            }
            check(quantity, orders.get(number), "quantity under the lock");
            change.setInt(1, quantity + 1);
            change.setString(2, customer);
            change.setInt(3, number);
            check(change.executeUpdate(), 1, "changed orders");
            connection.commit();
            orders.put(number, quantity + 1);
        }

        private void changeOfMind() throws SQLException {
            int before = count();
            add(before + 1, 99);
            insert.executeUpdate();
            check(count(), before + 1, "orders before the rollback");
            connection.rollback();
            check(count(), before, "orders after the rollback");
            connection.commit();
        }

        /** An order that is there already is undone by a savepoint, and the transaction goes on. */
        private void placeWithDuplicate() throws SQLException {
            int next = count() + 1;
            Savepoint before = connection.setSavepoint();
            try {
                add(1, 5);
                insert.executeUpdate();
                throw new AssertionError("order 1 twice");
            } catch (SQLException error) {
                check(error.getSQLState(), UNIQUE_VIOLATION, "SQLSTATE");
                connection.rollback(before);
            }
            add(next, 2);
            insert.executeUpdate();
            connection.commit();
            orders.put(next, 2);
        }

        // --- reading

        private int count() throws SQLException {
            total.setString(1, customer);
            try (ResultSet rows = total.executeQuery()) {
                rows.next();
                return rows.getInt(1);
            }
        }

        private void checkList() throws SQLException {
            check(listed(), orders, "orders of " + customer);
            connection.commit();
        }

        private Map<Integer, Integer> listed() throws SQLException {
            Map<Integer, Integer> found = new TreeMap<>();
            list.setString(1, customer);
            try (ResultSet rows = list.executeQuery()) {
                while (rows.next()) {
                    found.put(rows.getInt(1), rows.getInt(2));
                }
            }
            return found;
        }

        private void checkOne(int number) throws SQLException {
            byNumber.setString(1, customer);
            byNumber.setInt(2, number);
            try (ResultSet rows = byNumber.executeQuery()) {
                check(rows.next(), true, "order " + number);
                check(rows.getInt(1), orders.get(number), "quantity of order " + number);
                check(rows.getBigDecimal(2), new BigDecimal("2.50"), "price of order " + number);
            }
            connection.commit();
        }

        /** In a read-only transaction, and two statements of it. */
        private void checkInvoice() throws SQLException {
            connection.setReadOnly(true);
            try {
                int quantity = orders.values().stream().mapToInt(Integer::intValue).sum();
                invoice.setString(1, customer);
                try (ResultSet rows = invoice.executeQuery()) {
                    check(rows.next(), true, "an invoice");
                    check(rows.getString(1), customer.replace("customer", "street"), "address");
                    check(rows.getBigDecimal(2), new BigDecimal("2.50").multiply(new BigDecimal(quantity)), "sum");
                }
                check(count(), orders.size(), "count");
                connection.commit();
            } finally {
                connection.setReadOnly(false);
            }
        }

        /** By portions: the driver keeps a portal open and fetches from it. */
        private void report() throws SQLException {
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(10);
                int seen = 0;
                try (ResultSet rows = statement.executeQuery(
                        "SELECT number, quantity FROM jdbc_orders WHERE customer = '" + customer + "'")) {
                    while (rows.next()) {
                        check(rows.getInt(2), orders.get(rows.getInt(1)), "quantity in the report");
                        seen++;
                    }
                }
                check(seen, orders.size(), "rows of the report");
            }
            connection.commit();
        }
    }

    private static void migrate() throws SQLException {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            statement.execute("CREATE TABLE jdbc_customers (name text PRIMARY KEY, address text NOT NULL)");
            statement.execute("CREATE TABLE jdbc_orders (customer text REFERENCES jdbc_customers, number int,"
                    + " quantity int NOT NULL, price numeric(10, 2) NOT NULL, PRIMARY KEY (customer, number))");
            connection.commit();
        }
    }

    private static void work() throws Exception {
        List<Desk> desks = new ArrayList<>();
        for (int number = 0; number < DESKS; number++) {
            desks.add(new Desk(number));
        }
        ExecutorService threads = Executors.newFixedThreadPool(DESKS);
        List<Future<?>> running = new ArrayList<>();
        for (Desk desk : desks) {
            running.add(threads.submit(() -> {
                desk.work();
                return null;
            }));
        }
        threads.shutdown();
        for (Future<?> one : running) {
            one.get();
        }
        for (Desk desk : desks) {
            desk.close();
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("migrate")) {
            migrate();
        } else {
            work();
        }
    }
}
