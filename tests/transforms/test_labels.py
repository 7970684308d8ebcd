from __future__ import annotations

import numpy as np
import pytest

from transforms.labels import Label, face_at, folder_labels, read_labels


def test_the_folder_is_the_person() -> None:
    labels = folder_labels(["Ann/1.jpg", "old/Ann/2.jpg", "loose.jpg"])
    assert labels == [Label("Ann/1.jpg", "Ann"), Label("old/Ann/2.jpg", "old/Ann")]


def test_a_file_gives_points_and_further_columns() -> None:
    text = '\ufeffphoto,person,x,y,age\n"a, b.jpg",Ann,10.5,20,child\nc.jpg,Bob,,,\n'
    assert read_labels(text) == [
        Label("a, b.jpg", "Ann", (10.5, 20.0), {"age": "child"}),
        Label("c.jpg", "Bob", None, {"age": ""}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns photo and person"),
        ("photo,name\na,b\n", "line 1: expected the columns photo and person"),
        ("photo,person\na.jpg\n", "line 2: expected 2 values"),
        ("photo,person\na.jpg,Ann\nb.jpg,Bob,9\n", "line 3: expected 2 values"),
        ("photo,person\n,Ann\n", "line 2: photo or person is empty"),
        ("photo,person,x,y\na,Ann,one,2\n", "line 2: could not convert"),
        ("photo,person,x,y\na,Ann,nan,2\n", "line 2: x and y must be numbers"),
        ("photo,person\na,Ann\na,Bob\n", "line 3: a stands on line 2 too.* x and y"),
        ("photo,person,x,y\na,Ann,1,2\nb,Bob,,\na,Bob,,\n", "line 4: a stands on line 2 too"),
        ('photo,person\n"a,Ann\n', "line 1: unexpected end of data"),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_labels(text)


def test_of_several_faces_at_a_point_the_nearest_middle_is_taken() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 4, 8, 8], [20, 20, 30, 30]], np.float32)
    assert face_at(boxes, (6, 6)) == 1
    assert face_at(boxes, (1, 1)) == 0
    assert face_at(boxes, (15, 15)) == -1
    assert face_at(boxes[:0], (1, 1)) == -1
