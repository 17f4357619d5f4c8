"""A bookshop on SQLAlchemy: a Session for each unit of work, several clerks at the same time.

    sqlalchemy_app.py migrate|work

It connects as libpq's environment says. Each clerk knows what it has sold and bought, and fails when the
database tells anything else.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Column, DateTime, ForeignKey, Integer, String, create_engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import declarative_base, joinedload, relationship, selectinload, sessionmaker

CLERKS = 3
DAYS = 30
CUSTOMERS_A_DAY = 5

engine = create_engine("postgresql+psycopg2://", pool_size=5)
Session = sessionmaker(engine, future=True)
Base = declarative_base()


class Author(Base):
    __tablename__ = "alchemy_author"

    id = Column(Integer, primary_key=True)
    name = Column(String(80), nullable=False, unique=True)
    books = relationship("Book", back_populates="author", order_by="Book.id")


class Book(Base):
    __tablename__ = "alchemy_book"

    id = Column(Integer, primary_key=True)
    title = Column(String(200), nullable=False, unique=True)
    stock = Column(Integer, nullable=False, default=0)
    added = Column(DateTime(timezone=True), server_default=func.now())
    author_id = Column(ForeignKey("alchemy_author.id"), nullable=False, index=True)
    author = relationship("Author", back_populates="books")


class Clerk:
    """Cares for one author. `shelf` says what has to be in the database: title -> stock."""

    def __init__(self, number):
        self.name = f"author {number}"
        with Session.begin() as session:
            author = Author(name=self.name)
            session.add(author)
            session.flush()
            self.author_id = author.id
        self.shelf = {}

    def work(self):
        for day in range(DAYS):
            self.buy(f"{self.name}, volume {day}")
            self.check_shelf()
            for _ in range(CUSTOMERS_A_DAY):
                self.browse()
                self.search(day)
                self.show_author()
            self.sell(f"{self.name}, volume {day // 2}")
            self.check_shelf()
            if day % 5 == 1:
                self.change_of_mind()
                self.check_shelf()
            if day % 5 == 3:
                self.delivery_with_a_duplicate(day)
                self.check_shelf()

    # --- writing

    def buy(self, title):
        with Session.begin() as session:
            author = session.get(Author, self.author_id)
            author.books.append(Book(title=title, stock=10))
        self.shelf[title] = 10

    def sell(self, title):
        with Session() as session:
            book = session.execute(select(Book).where(Book.title == title)).scalar_one()
            assert book.stock == self.shelf[title], (title, book.stock)
            book.stock -= 1
            session.commit()
            self.shelf[title] -= 1
            # The commit has expired it: this reads it again.
            assert book.stock == self.shelf[title], (title, book.stock)

    def change_of_mind(self):
        with Session() as session:
            session.add(Book(title=f"{self.name}, never", stock=1, author_id=self.author_id))
            session.flush()
            assert self.count(session) == len(self.shelf) + 1
            session.rollback()
            assert self.count(session) == len(self.shelf)

    def delivery_with_a_duplicate(self, day):
        """What is there already is skipped, by a savepoint; the rest is taken."""
        title = f"{self.name}, special edition {day}"
        with Session.begin() as session:
            assert self.count(session) == len(self.shelf)
            for wanted in (f"{self.name}, volume 0", title):
                try:
                    with session.begin_nested():
                        session.add(Book(title=wanted, stock=2, author_id=self.author_id))
                except IntegrityError:
                    assert wanted != title
        self.shelf[title] = 2

    # --- reading

    def count(self, session):
        return session.execute(select(func.count(Book.id)).where(Book.author_id == self.author_id)).scalar()

    def check_shelf(self):
        with Session() as session:
            author = session.get(Author, self.author_id, options=[selectinload(Author.books)])
            assert {book.title: book.stock for book in author.books} == self.shelf

    def browse(self):
        """A page of the catalogue, and the details of one book of it."""
        with Session() as session:
            assert self.count(session) == len(self.shelf)
            page = session.execute(
                select(Book).options(joinedload(Book.author)).where(Book.author_id == self.author_id)
                .order_by(Book.id.desc()).limit(5)).scalars().all()
            assert [book.title for book in page] == list(self.shelf)[:-6:-1]
            assert all(book.author.name == self.name for book in page)
            wanted = page[-1].id
        with Session() as session:
            book = session.get(Book, wanted)
            assert book.author.name == self.name  # loaded on demand
            assert book.added is not None

    def search(self, day):
        with Session() as session:
            found = session.execute(
                select(Book.title, Book.stock, Author.name).join(Author)
                .where(Book.title.like(f"{self.name}, volume {day}%")).order_by(Book.id)).all()
            wanted = [title for title in self.shelf if title.startswith(f"{self.name}, volume {day}")]
            assert found == [(title, self.shelf[title], self.name) for title in wanted]

    def show_author(self):
        with Session() as session:
            author = session.execute(select(Author).filter_by(name=self.name)).scalar_one()
            assert len(author.books) == len(self.shelf)
            in_stock = session.execute(
                select(func.sum(Book.stock)).where(Book.author_id == author.id)).scalar()
            assert in_stock == sum(self.shelf.values())


def work():
    clerks = [Clerk(number) for number in range(CLERKS)]
    with ThreadPoolExecutor(CLERKS) as threads:
        for done in [threads.submit(clerk.work) for clerk in clerks]:
            done.result()
    with Session() as session:
        stock = dict(session.execute(select(Book.title, Book.stock)).all())
        assert stock == {title: count for clerk in clerks for title, count in clerk.shelf.items()}


if __name__ == "__main__":
    if sys.argv[1] == "migrate":
        Base.metadata.create_all(engine)
    else:
        work()
