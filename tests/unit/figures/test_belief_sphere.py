from raymark.figures.belief_sphere import belief_sphere, steadiest_and_most_varied
from tests.unit.evaluation.examples import errors_of


def test_landmarks_of_the_sphere_are_chosen_by_confidence_where_they_are_seen():
    """One that leaves the image has little confidence there, which tells nothing of the method."""
    errors = errors_of("cpm").assign(visible=True, confidence=0.8)
    side = errors["primary_deg"] > 0
    errors.loc[(errors["landmark"] == "sacrum") & side, ["visible", "confidence"]] = [False, 0.0]
    errors.loc[(errors["landmark"] == "coccyx") & side, "confidence"] = 0.4
    assert steadiest_and_most_varied(errors)[1] == "coccyx"
    errors.loc[errors["landmark"] == "left_asis", "visible"] = errors["primary_deg"] > 55
    errors.loc[
        (errors["landmark"] == "left_asis") & (errors["secondary_deg"] > 0), "confidence"
    ] = 0
    assert steadiest_and_most_varied(errors)[1] == "coccyx"  # the other is seen from few sides


def test_directions_from_which_a_landmark_leaves_the_image_are_marked(errors, pages):
    errors = errors.assign(visible=True, detected=False, confidence=0.0)
    side = errors["primary_deg"] > 40
    errors.loc[(errors["landmark"] == "sacrum") & side, "visible"] = False
    belief_sphere(errors, ["sacrum", "coccyx"], "stem")
    for axes, outside in zip(pages[0].axes, (2 * 7, 0), strict=False):  # of 15°: 45° and 60°
        (marks,) = axes.lines
        assert len(marks.get_xdata()) == outside
        assert (marks.get_xdata() > 40).all()
