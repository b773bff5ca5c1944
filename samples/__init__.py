"""The sample group of the first run: drawn people by code, and the small segmenter that finds them.

Reads nothing but the photographs that scikit-image carries (see README.md for their licences); writes the folder
it is told to. `python -m samples.make --to FOLDER` draws the group `outfit`, `python -m samples.hostile --to
FOLDER` writes picture files that must not stop a run, `python -m samples.train_segmenter` trains
`samples/model/people-seg.pt` again.

How one picture comes about:
    shoots.py       plans everything (who, wearing what, where, in which light) from one seed; composes and grades
    scenes.py       the background: drawn (outdoors.py, indoors.py, backdrop.py) or of photographs (photographs.py)
    body.py         build, pose and where the joints of one person are
    outfit.py       what is worn, as data; clothes.py and outerwear.py paint it
    face.py         hair, skin, hat, as data; head.py and hair.py paint them
    figure.py       the order of the layers of one person
    canvas.py       one soft-shaded, anti-aliased shape: the brush of the people
    make.py         saves pictures and masks, writes pictures.jsonl and group.json
"""
