/** Short explanation of the pictures, for every report; docs/how-to/read-the-map.md has the details. */
export const HOW_TO_READ = `<details><summary>How to read the pictures</summary>
<p>Colour marks places that differ from the same place in normal images. It begins at the threshold that decides the whole
image (cyan line) and gets lighter the higher robust z is; grey places are below the threshold. Only patches inside the
dotted line count for the score; places outside of it are not coloured.</p>
<p>Robust z is the distance of a patch to normal patches, in spreads of normal images at that place. Normal images have
coloured places too: each colour bar shows which share of patches of normal images reaches a value. An image has
many patches, so a single coloured place is no finding; only the decision on the whole image keeps a
false-positive rate. A place without colour is not necessarily normal.</p></details>`;
